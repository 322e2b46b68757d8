# There is no fork to call.
import os

try:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print("forked")
except (AttributeError, OSError) as error:
    print("refused:", type(error).__name__)
