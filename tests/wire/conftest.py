"""A test must not fail because another process had the processor: hypothesis has no deadline."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
