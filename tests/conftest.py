"""
What holds for every test: none of them is about time, so a busy machine is no reason to fail; none
is about luck, so examples that are drawn are the same ones in each run, wherever that is; and
programs that tests start are interrupted by SIGINT.

`--hypothesis-profile exploring` draws other examples each time; what fails there becomes one that
its test names.
"""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "exploring", deadline=None, derandomize=False, suppress_health_check=(HealthCheck.too_slow,)
)
settings.register_profile(
    "the same", settings.get_profile("exploring"), derandomize=True, database=None
)
settings.load_profile("the same")

# A shell that starts tests in the background has them ignore it, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
