"""
What holds for every test: none of them is about time, so a busy machine is no reason to fail; none
is about luck, so examples that are drawn are the same ones in each run, wherever that is; programs
that tests start are interrupted by SIGINT, and can read what tests lay out for them.

`--hypothesis-profile exploring` draws other examples each time; what fails there becomes one that
its test names.
"""

import os
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

# Servers and boxes work as another user than root, who would find no file of a stricter user's. What
# is about this mask sets its own.
os.umask(0o022)
