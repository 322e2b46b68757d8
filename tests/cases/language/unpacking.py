# Unpacking with stars, in calls, literals, loops and swaps.
first, *middle, last = range(6)
(a, (b, *c)), d = ("x", "yzw"), 4
print(first, middle, last, a, b, c, d)
merged = {**{"a": 1, "b": 2}, "b": 3, **dict(c=4)}
print(merged, [*"ab", *range(2)], {*[1, 1, 2]} == {1, 2}, (*"hi",))


def show(*args, sep, **options):
    return f"{args} {sep} {options}"


print(show(*[1, 2], *(3,), sep=";", **{"end": "."}))
for name, *scores in [("ann", 1, 2), ("bob",)]:
    print(name, sum(scores))
x, y = 1, 2
x, y = y, x + y
print(x, y)
