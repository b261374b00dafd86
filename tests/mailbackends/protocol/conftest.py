"""Settings for all tests of the protocol."""

from hypothesis import settings

# These tests assert counts, never times, so that no test fails on a busy machine.
settings.register_profile("protocol", deadline=None)
settings.load_profile("protocol")
