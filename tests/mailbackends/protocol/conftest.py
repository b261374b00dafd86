"""What all tests of the protocol go by."""

from hypothesis import settings

# Counts are asserted here, never times: a busy machine makes no test fail.
settings.register_profile("protocol", deadline=None)
settings.load_profile("protocol")
