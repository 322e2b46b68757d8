"""
What a cell asked of its policy is in its result, by kind, in both cages.

Green does not prove that every kind is named well, only that none is lost, and that one cell's are
not counted to another.
"""

from collections.abc import Iterator

import pytest

import agent_client
from executor.children.probing import NotHeld, probe
from tests.e2e.serving import ACCOUNT, find, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

WORK = """
import os, socket, subprocess
open('/data/a.csv').read()
with open('/out/f', 'w') as file: file.write('x')
os.listdir('/out')
def attempt(act):
    try: act()
    except OSError as error: return type(error).__name__
print(attempt(lambda: socket.getaddrinfo('example.com', 443)))
print(attempt(lambda: subprocess.run(['ls'])))
print(attempt(lambda: open('/data/private/key')))
"""


def images() -> list[object]:
    held = not isinstance(probe(), NotHeld) and find("native-core") is not None
    unheld = pytest.mark.skipif(not held, reason="no box can be made here")
    return ["core", pytest.param("native-core", marks=unheld)]


@pytest.fixture(scope="module")
def cage() -> Iterator[agent_client.Cage]:
    with private_directory() as place:
        place.chmod(0o755)
        data, out, policies = (place / name for name in ("data", "out", "policies"))
        for made in (data, out, policies, data / "private"):
            made.mkdir()
        out.chmod(0o777)
        (data / "a.csv").write_bytes(b"1,2")
        (data / "private" / "key").write_bytes(b"secret")
        (policies / "both.yaml").write_text(
            "version: 1\nname: both\ncage: any\nimage: [core, native-core]\nfilesystem:\n"
            f"  - {{mount: /data, source: {data}, access: read, deny: ['private/**']}}\n"
            f"  - {{mount: /out, source: {out}, access: read-write, quota: 1Mi}}\n"
        )
        with agent_client.connect(policies=policies, run_as=ACCOUNT) as connected:
            yield connected


@pytest.fixture(params=images())
def session(
    request: pytest.FixtureRequest, cage: agent_client.Cage
) -> Iterator[agent_client.Session]:
    with cage.session("both", image=str(request.param)) as made:
        yield made


def test_a_result_has_what_its_cell_asked_for_by_kind(session: agent_client.Session) -> None:
    seen = session.run(WORK)
    assert seen.error is None, seen.text
    kinds = dict(seen.requests_by_kind)
    assert {"read", "write", "resolve", "run"} <= set(kinds)
    assert sum(kinds.values()) == seen.requests
    assert seen.denied == 3
    assert "connect" not in kinds


def test_a_cell_that_asks_for_nothing_has_none_and_not_those_of_the_one_before(
    session: agent_client.Session,
) -> None:
    assert session.run("open('/data/a.csv').read()").requests > 0
    idle = session.run("sum(range(10))")
    assert (idle.requests, idle.denied, dict(idle.requests_by_kind)) == (0, 0, {})


def test_a_cell_that_raises_is_counted_all_the_same(session: agent_client.Session) -> None:
    seen = session.run("open('/data/a.csv').read()\n1 / 0")
    assert seen.error is not None
    assert seen.error.name == "ZeroDivisionError"
    assert seen.requests_by_kind["read"] >= 1
    assert seen.cpu_time > 0
    assert seen.peak_memory > 0
