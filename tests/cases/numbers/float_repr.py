# Floats print as the shortest text that reads back the same.
for x in (
    0.1 + 0.2,
    1 / 3,
    1e16,
    1e15 + 0.5,
    123456789.123456789,
    5e-324,
    1.7976931348623157e308,
    -0.0,
    2.0,
    1e22,
    1e23,
    0.0001,
    0.00001,
    100000000000000000.0,
):
    print(repr(x), float(repr(x)) == x, f"{x:.3e}", f"{x:g}")
print(
    float("inf"), -float("inf"), float("nan"), 1e999, round(2.5), [0.1, 0.25], (1.0,), {0.5: 1.50}
)
