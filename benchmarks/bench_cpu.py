"""
The guest's speed against the same programs on the Python that runs this file.

The two run in turn, five times, and the best of each counts: what is asked is what the machine
can do. Each program returns its result, and both must agree.
"""

import math
import time

from measure import Row

import agent_client

PROGRAMS = {
    "fib": """
def work():
    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
    return fib(27)
""",
    "nbody": """
def work():
    x, v = [0.0, 1.0, 2.5], [0.1, -0.2, 0.05]
    for _ in range(60_000):
        for i in range(3):
            for j in range(3):
                if i != j:
                    d = x[i] - x[j]
                    v[i] -= 0.0001 * d / (abs(d) ** 3 + 0.01)
        for i in range(3):
            x[i] += v[i] * 0.001
    return round(sum(x), 9)
""",
    "sort": """
def work():
    values = [(i * 7919) % 100_003 for i in range(300_000)]
    return sum(sorted(values, key=lambda value: -value)[::1000])
""",
    "dict of strings": """
def work():
    counts = {}
    for i in range(600_000):
        word = f"w{i % 997}"
        counts[word] = counts.get(word, 0) + 1
    return sum(counts.values()) + len(counts)
""",
    "json": """
def work():
    import json
    rows = [{"id": i, "name": f"n{i}", "tags": ["a", "b"], "x": i / 7} for i in range(30_000)]
    text = json.dumps(rows)
    return len(json.loads(text)) + len(text)
""",
    "regex": r"""
def work():
    import re
    text = "alpha=1, beta=22; gamma=333 " * 30_000
    return sum(int(number) for _, number in re.findall(r"(\w+)=(\d+)", text))
""",
    "csv": """
def work():
    import csv, io
    text = "date,region,units,price\\n" + "2025-01-01,North,3,39.00\\n" * 60_000
    return sum(int(row["units"]) for row in csv.DictReader(io.StringIO(text)))
""",
    "classes": """
def work():
    class Point:
        def __init__(self, x, y): self.x, self.y = x, y
        def add(self, other): return Point(self.x + other.x, self.y + other.y)
    point, step = Point(0, 0), Point(1, 2)
    for _ in range(400_000):
        point = point.add(step)
    return point.x + point.y
""",
    "strings": """
def work():
    lines = [f"{i}:{i * i}" for i in range(250_000)]
    return len("\\n".join(line.upper().replace(":", " = ") for line in lines))
""",
    "decimal": """
def work():
    from decimal import Decimal
    total = Decimal(0)
    for i in range(1, 300_000):
        total += Decimal(i) / Decimal(7)
    return str(total)[:12]
""",
}
TIMED = """
import time as _time
_started = _time.perf_counter()
_result = work()
repr((_time.perf_counter() - _started, _result))
"""
ROUNDS = 5


def native(program):
    space = {}
    exec(program, space)
    started = time.perf_counter()
    result = space["work"]()
    return time.perf_counter() - started, result


def guest(session, program):
    session.run(program)
    started = time.perf_counter()
    value = session.run(TIMED).value
    # Around the call, not inside: the guest's clock steps by a millisecond.
    elapsed = time.perf_counter() - started
    return elapsed, eval(eval(value))[1]


def ratios():
    with agent_client.connect() as cage, cage.session() as session:
        for name, program in PROGRAMS.items():
            pairs = [(guest(session, program), native(program)) for _ in range(ROUNDS)]
            assert all(ours[1] == theirs[1] for ours, theirs in pairs), name
            best = [min(pair[side][0] for pair in pairs) for side in (0, 1)]
            yield name, best[0] / best[1]


def rows():
    found = dict(ratios())
    mean = math.prod(found.values()) ** (1 / len(found))
    detail = ", ".join(f"{name} {ratio:.1f}" for name, ratio in found.items())
    yield Row(f"guest CPU, geometric mean ({detail})", mean, 2.0, "x native")


if __name__ == "__main__":
    for row in rows():
        print(row.data())
