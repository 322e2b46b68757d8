# Infinite iterators are cut with islice.
from itertools import count, cycle, islice, repeat, takewhile

print(
    list(islice(count(10, 2.5), 4)),
    list(islice(cycle("abc"), 7)),
    list(repeat("x", 3)),
    list(zip(count(), "ab")),
)


def fib():
    a, b = 0, 1
    while True:
        yield a
        a, b = b, a + b


print(
    list(takewhile(lambda n: n < 100, fib())),
    next(islice(fib(), 100, None)),
    sum(n for n in takewhile(lambda n: n < 4_000_000, fib()) if n % 2 == 0),
)
