# locals and globals show the names of a call and of the cell.
def add(a, b=2):
    c = a + b
    return dict(sorted(locals().items()))


print(add(1), "add" in globals(), callable(globals()["add"]))
globals()["made"] = 5
names = vars()
print(made, [name for name in ("made", "missing") if name in names])
