# Recursion solves puzzles, and a runaway one raises RecursionError that can be caught.
def hanoi(n, a="A", b="B", c="C"):
    if n:
        yield from hanoi(n - 1, a, c, b)
        yield a + c
        yield from hanoi(n - 1, b, a, c)


moves = list(hanoi(5))
print(len(moves), moves[:4])


def ackermann(m, n):
    if m == 0:
        return n + 1
    return ackermann(m - 1, 1) if n == 0 else ackermann(m - 1, ackermann(m, n - 1))


print(ackermann(2, 3))


def forever(n):
    return forever(n + 1)


try:
    forever(0)
except RecursionError as error:
    print(str(error).startswith("maximum recursion depth exceeded"))
print(len(list(hanoi(6))))
