"""The testing kit: what agy_actors itself is tested with, for its users too."""
