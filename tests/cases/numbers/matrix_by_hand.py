# Matrices as lists: product, power, determinant and inverse with fractions.
from fractions import Fraction


def mul(a, b):
    return [[sum(x * y for x, y in zip(row, col)) for col in zip(*b)] for row in a]


def power(m, n):
    out = [[int(i == j) for j in range(len(m))] for i in range(len(m))]
    while n:
        out, m, n = (mul(out, m) if n & 1 else out), mul(m, m), n >> 1
    return out


def inverse(m):
    n = len(m)
    rows = [
        [Fraction(x) for x in row] + [Fraction(int(i == j)) for j in range(n)]
        for i, row in enumerate(m)
    ]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [a - rows[r][i] * b for a, b in zip(rows[r], rows[i])]
    return [row[n:] for row in rows]


print(
    power([[1, 1], [1, 0]], 90)[0][1],
    [[str(x) for x in row] for row in inverse([[2, 1, 1], [1, 3, 2], [1, 0, 0]])],
)
