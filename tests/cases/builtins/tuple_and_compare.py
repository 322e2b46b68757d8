# Tuples compare item by item, hash by content, and nest.
print(
    (1, 2) < (1, 2, 0),
    (1, "b") > (1, "a"),
    (1, [2]) == (1, [2]),
    () == tuple(),
    (1,) * 3,
    (1, 2).index(2),
)
print(hash((1, 2)) == hash((1, 2)), {(0, 1): "edge"}[0, 1], tuple("ab") + (1,), ((1, 2), 3)[0][1])
(1, "a") < (1, 2)
