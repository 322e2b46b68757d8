# Tracebacks are walked, formatted and summarised.
import sys
import traceback


def inner(x):
    return 10 / x


def outer(x):
    return inner(x)


try:
    outer(0)
except ZeroDivisionError as error:
    frames = traceback.extract_tb(error.__traceback__)
    print([(f.name, f.lineno, f.line) for f in frames][1:])
    print(
        traceback.format_exception_only(error),
        sys.exc_info()[0].__name__,
        error.__traceback__.tb_next.tb_frame.f_locals["x"],
    )
    print(traceback.format_exc().splitlines()[0], traceback.format_exc().splitlines()[-1])
print(traceback.extract_stack()[-1].lineno, sys.exc_info())
