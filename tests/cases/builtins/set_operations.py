# Sets intersect, subtract, update, and freeze into keys.
a, b = {1, 2, 3}, {3, 4}
print(
    sorted(a | b),
    a & b,
    sorted(a - b),
    sorted(a ^ b),
    a <= {1, 2, 3, 4},
    a.isdisjoint({9}),
    {1} < a,
)
a.discard(99)
a.update([7], (8,))
a -= {1}
print(
    sorted(a),
    frozenset([1, 2]) == {2, 1},
    {frozenset({1}): "x"}[frozenset({1})],
    len({1, 1.0, True}),
)
print(sorted({x % 3 for x in range(10)}), set() == {*()}, sorted(set("mississippi")))
{[1, 2]}
