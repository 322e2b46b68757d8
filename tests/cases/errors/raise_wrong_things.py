# Only exceptions are raised and caught.
try:
    raise "text"
except TypeError as error:
    print(error)
try:
    raise ValueError
except ValueError as error:
    print(repr(error), error.args)
try:
    try:
        1 / 0
    except "ZeroDivisionError":
        pass
except TypeError as error:
    print(error, type(error.__context__).__name__)
raise
