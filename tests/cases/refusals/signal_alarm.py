# A timer's signal is not there in the cage.
import signal

print(hasattr(signal, "alarm"), hasattr(signal, "setitimer"))
