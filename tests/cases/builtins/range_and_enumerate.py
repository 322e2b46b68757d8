# Ranges are sequences: they index, slice, compare and test membership without a list.
r = range(10, 0, -3)
print(list(r), r[1], r[-1], r[1:], 7 in r, 8 in r, len(r), r.index(4), r == range(10, -1, -3))
print(
    list(enumerate("ab", 1)),
    sum(range(101)),
    range(0),
    bool(range(5, 5)),
    hash(range(0)) == hash(range(3, 3)),
)
print(range(10**12)[-1], list(reversed(range(0, 7, 2))))
