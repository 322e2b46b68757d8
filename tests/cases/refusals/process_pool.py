# Processes are refused where there is only one.
import multiprocessing

try:
    context = multiprocessing.get_context("fork")
    p = context.Process(target=print)
    p.start()
    p.join()
    print("started", p.exitcode)
except (RuntimeError, ValueError) as error:
    print("refused:", error)
