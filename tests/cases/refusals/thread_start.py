# Threads are refused with a sentence, and the work can be done without.
import threading

done = []
try:
    t = threading.Thread(target=done.append, args=(1,))
    t.start()
    t.join()
except RuntimeError as error:
    print("refused:", error)
    done.append(1)
print(done)
