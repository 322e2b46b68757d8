# Too many and too few values to unpack.
try:
    a, b, c = [1, 2]
except ValueError as error:
    print(error)
for name, score in [("ann", 1), ("bob", 2, 3)]:
    print(name, score)
