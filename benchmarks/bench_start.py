"""
From nothing to the first result: a private server is started, a session made, a cell run.

Floor: a Python process that prints the same result and ends.
"""

import statistics
import subprocess
import sys

from measure import Row, timed_ms

import agent_client


def start():
    with agent_client.connect() as cage, cage.session() as session:
        assert session.run("1 + 1").value == "2"


def plain():
    subprocess.run([sys.executable, "-c", "print(1 + 1)"], check=True, stdout=subprocess.DEVNULL)


def first_result():
    """Without the shutdown, which nobody waits for."""
    cage = agent_client.connect()
    try:
        assert cage.session().run("1 + 1").value == "2"
    finally:
        CLOSING.append(cage)


CLOSING = []


def rows():
    pairs = [(timed_ms(first_result), timed_ms(plain)) for _ in range(11)][1:]
    for cage in CLOSING:
        cage.close()
    starts, plains = zip(*pairs, strict=True)
    floor = statistics.median(plains) / 1000, "python -c"
    middle, slowest = statistics.median(starts) / 1000, max(starts) / 1000
    yield Row("server start to the first result", middle, 0.5, "s", *floor)
    yield Row("server start to the first result, the slowest of ten", slowest, 0.5, "s", *floor)


if __name__ == "__main__":
    for row in rows():
        print(row.data())
