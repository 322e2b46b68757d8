# Signals have names and handlers, exits have functions.
import atexit
import signal

print(signal.Signals(2).name, signal.SIGINT.value, callable(signal.getsignal(signal.SIGINT)))
f = atexit.register(lambda: None)
atexit.unregister(f)
print(callable(f))
