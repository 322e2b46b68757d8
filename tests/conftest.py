"""
What holds for every test: none of them is about time, so a busy machine is no reason to fail; and
programs that tests start are interrupted by SIGINT.
"""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("untimed")

# A shell that starts tests in the background has them ignore it, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
