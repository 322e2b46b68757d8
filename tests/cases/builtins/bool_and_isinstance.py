# Booleans are integers, and unions work with isinstance.
print(
    True + True, sum([True, False, True]), isinstance(True, int), type(True) is int, bool("False")
)
print(
    isinstance(3, int | str),
    isinstance("a", (int, str)),
    issubclass(bool, int | None),
    ["no", "yes"][3 > 2],
)
print(f"{True:d} {True!s:>6}", int(True), float(False), True == 1, "1" == 1, None is None)
isinstance(3, "int")
