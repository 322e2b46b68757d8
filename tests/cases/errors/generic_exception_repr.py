# Exceptions compare by identity, and print by class and arguments.
errors = [
    ValueError(),
    ValueError("a"),
    ValueError("a", 1),
    KeyError("k"),
    KeyError(),
    OSError("plain"),
    StopIteration(5),
    UnicodeError("u"),
    ImportError("m", name="n"),
    SystemExit(2),
    AssertionError(["x"]),
]
for error in errors:
    print(repr(error), "|", str(error), "|", error.args)
print(
    ValueError("a") == ValueError("a"),
    Exception("é\n"),
    isinstance(errors[3], LookupError),
    StopIteration(5).value,
)
