# zip, map and filter are lazy, and zip can be strict.
print(
    list(zip("abc", [1, 2])),
    list(map(max, [1, 5, 3], [4, 2, 6])),
    list(filter(None, [0, 1, "", "a", None])),
)
pairs = [("a", 1), ("b", 2)]
names, numbers = zip(*pairs)
print(names, numbers, dict(zip(names, numbers)))
it = iter(range(5))
print(list(zip(it, it)), list(it))
list(zip([1, 2, 3], [1, 2], strict=True))
