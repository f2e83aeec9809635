"""`localharness` processes, and the leases of conversations on them."""
