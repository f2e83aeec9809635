"""The only package that knows the internals of google-antigravity."""

from agy_actors._sdk.schema_models import remember_models

remember_models()
