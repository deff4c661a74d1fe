"""Tests of mailkit; they mirror its packages."""

from hypothesis import HealthCheck, settings

# The same examples in each run, and no verdict on the machine's speed.
settings.register_profile(
    "mailkit", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mailkit")
