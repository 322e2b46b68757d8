"""
From nothing to the first result: a private server is started, a session made, a cell run.

Floor: a Python process that prints the same result and ends.
"""

import subprocess
import sys

from measure import Row, alternating_ms

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
    value, floor = alternating_ms(first_result, plain, 10, warm=1)
    for cage in CLOSING:
        cage.close()
    yield Row("server start to the first result", value / 1000, 0.6, "s", floor / 1000, "python -c")


if __name__ == "__main__":
    for row in rows():
        print(row.data())
