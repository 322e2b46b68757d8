"""
Fifteen programs of the kinds that pyperformance has, written for this: each defines `work`.

They return a number or a text, import what any Python has, and take some tens of milliseconds on a
native one. What an interpreter of a part of Python lacks, it fails with, and the table says so.
"""

from typing import Final

PROGRAMS: Final = {
    "fib": """
def work():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)
    return fib(22)
""",
    "nbody": """
def work():
    x, v = [0.0, 1.0, 2.5], [0.1, -0.2, 0.05]
    for _ in range(6000):
        for i in range(3):
            for j in range(3):
                if i != j:
                    d = x[i] - x[j]
                    v[i] = v[i] - 0.0001 * d / (abs(d) ** 3 + 0.01)
        for i in range(3):
            x[i] = x[i] + v[i] * 0.001
    return round(sum(x), 9)
""",
    "spectral norm": """
def work():
    n = 60
    def product(u):
        def row(i):
            return sum([u[j] / ((i + j) * (i + j + 1) // 2 + i + 1) for j in range(n)])
        return [row(i) for i in range(n)]
    u = [1.0] * n
    for _ in range(8):
        u = product(u)
        top = max(u)
        u = [value / top for value in u]
    return round(sum(u), 9)
""",
    "fannkuch": """
def work():
    n, most = 7, 0
    order, count, r = list(range(n)), [0] * n, n
    while True:
        while r != 1:
            count[r - 1] = r
            r -= 1
        flips, now = 0, list(order)
        while now[0]:
            k = now[0]
            now = now[k::-1] + now[k + 1:]
            flips += 1
        most = max(most, flips)
        while True:
            if r == n:
                return most
            order.insert(r, order.pop(0))
            count[r] -= 1
            if count[r] > 0:
                break
            r += 1
        r = max(r, 1)
""",
    "n queens": """
def work():
    def place(row, columns, left, right, size):
        if row == size:
            return 1
        found = 0
        for column in range(size):
            if column not in columns and row + column not in left and row - column not in right:
                taken = columns | {column}, left | {row + column}, right | {row - column}
                found += place(row + 1, *taken, size)
        return found
    return place(0, set(), set(), set(), 7)
""",
    "sieve": """
def work():
    top = 150000
    prime = [True] * top
    for n in range(2, 388):
        if prime[n]:
            for multiple in range(n * n, top, n):
                prime[multiple] = False
    return sum(prime) - 2
""",
    "sort": """
def work():
    values = [(i * 7919) % 100003 for i in range(60000)]
    return sum(sorted(values, key=lambda value: -value)[::1000])
""",
    "dict of strings": """
def work():
    counts = {}
    for i in range(100000):
        word = f"w{i % 997}"
        counts[word] = counts.get(word, 0) + 1
    return sum(counts.values()) + len(counts)
""",
    "strings": """
def work():
    lines = [f"{i}:{i * i}" for i in range(50000)]
    return len("\\n".join([line.upper().replace(":", " = ") for line in lines]))
""",
    "classes": """
def work():
    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y
        def add(self, other):
            return Point(self.x + other.x, self.y + other.y)
    point, step = Point(0, 0), Point(1, 2)
    for _ in range(60000):
        point = point.add(step)
    return point.x + point.y
""",
    "generators": """
def work():
    def numbers(top):
        for number in range(top):
            yield number
    def even(these):
        for number in these:
            if number % 2 == 0:
                yield number
    return sum(even(numbers(200000)))
""",
    "json": """
def work():
    import json
    rows = [{"id": i, "name": f"n{i}", "tags": ["a", "b"], "x": i / 7} for i in range(6000)]
    text = json.dumps(rows)
    return len(json.loads(text)) + len(text)
""",
    "regex": r"""
def work():
    import re
    text = "alpha=1, beta=22; gamma=333 " * 6000
    return sum([int(number) for _, number in re.findall(r"(\w+)=(\d+)", text)])
""",
    "csv": """
def work():
    import csv, io
    text = "date,region,units,price\\n" + "2025-01-01,North,3,39.00\\n" * 10000
    return sum(int(row["units"]) for row in csv.DictReader(io.StringIO(text)))
""",
    "big numbers": """
def work():
    digits, q, r, t, k, n, l = "", 1, 0, 1, 1, 3, 3
    while len(digits) < 400:
        if 4 * q + r - t < n * t:
            digits += str(n)
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, l = (
                q * k, (2 * q + r) * l, t * l, k + 1, (q * (7 * k + 2) + r * l) // (t * l), l + 2
            )
    return digits[-9:]
""",
}
