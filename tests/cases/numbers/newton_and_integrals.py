# Newton's method, Simpson's rule and Euler's steps in plain floats.
def newton(f, df, x):
    for step in range(50):
        nxt = x - f(x) / df(x)
        if abs(nxt - x) < 1e-14:
            return round(nxt, 12), step
        x = nxt


def simpson(f, a, b, n=100):
    h = (b - a) / n
    return (
        h / 3 * sum((1 if i in (0, n) else 4 if i % 2 else 2) * f(a + i * h) for i in range(n + 1))
    )


print(newton(lambda x: x**3 - 2, lambda x: 3 * x * x, 1.0), round(simpson(lambda x: x**4, 0, 2), 8))
y = 1.0
for _ in range(1000):
    y += 0.001 * -2 * y
print(y, round(y, 6))
lo, hi = 0.0, 2.0
while hi - lo > 1e-12:
    mid = (lo + hi) / 2
    lo, hi = (mid, hi) if mid * mid < 2 else (lo, mid)
print(round(lo, 10))
