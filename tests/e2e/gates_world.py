"""
Commits that gates judge, through a real server: policies with a gate each, over one small ledger.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import agent_client
from executor.audit.read import records
from executor.process import images as native
from tests.e2e.serving import ACCOUNT, private_directory

BOOKS = native.find("native-books")
NEEDED = [
    pytest.mark.image,
    pytest.mark.skipif(
        BOOKS is None, reason="native-books is not built: codecage image build native-books"
    ),
]
MAIN = """option "operating_currency" "EUR"
include "entries/*.beancount"
2026-01-01 open Assets:Cash EUR
2026-01-01 open Income:Sales EUR
"""
FIRST = '2026-01-02 * "First"\n  Assets:Cash  1 EUR\n  Income:Sales  -1 EUR\n'


def policy(name, ledger, gate, more=""):
    return f"""version: 1
name: {name}
cage: any
image: [core, native-core]
gates:
  {gate}
filesystem:
  - {{mount: /ledger, source: {ledger}, access: transaction, gate: {gate.partition(":")[0]}{more}}}
"""


class World:
    def __init__(self, cage, where):
        self.cage, self.ledger, self.audit = cage, where / "ledger", where / "audit" / "a.sqlite3"

    def begin_anew(self):
        """
        The books as they were at first, whatever the test before has left.
        """
        for path in sorted(self.ledger.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (self.ledger / "entries").mkdir()
        (self.ledger / "main.beancount").write_text(MAIN)
        (self.ledger / "entries" / "first.beancount").write_text(FIRST)
        open_to_all(self.ledger / "entries", *self.ledger.rglob("*.beancount"))

    def tree(self):
        found = sorted(path for path in self.ledger.rglob("*") if path.is_file())
        return {str(path.relative_to(self.ledger)): path.read_text() for path in found}

    def commits(self, session):
        """
        The records of a session's commits: what was asked, and what came of it.
        """
        rows = [*records(self.audit, session=session, limit=10_000)]
        asked = {row.sequence: row for row in rows if str(row.request) == "commit /ledger"}
        return [(asked[row.refers], row) for row in rows if row.refers in asked]


def open_to_all(*paths):
    for path in paths:
        path.chmod(0o777)


@contextlib.contextmanager
def judged(policies: Callable[[Path, Path], Mapping[str, str]]) -> Iterator[World]:
    """
    The world, with the policies that are made of its directory and of its ledger.
    """
    with private_directory() as where:
        ledger, place = where / "ledger", where / "policies"
        for made in (ledger, place):
            made.mkdir()
        open_to_all(where, ledger)
        for name, text in policies(where, ledger).items():
            (place / f"{name}.yaml").write_text(text)
        audit = where / "audit" / "a.sqlite3"
        with agent_client.connect(policies=str(place), audit=str(audit), run_as=ACCOUNT) as cage:
            yield World(cage, where)


def fixtures(policies: Callable[[Path, Path], Mapping[str, str]]) -> tuple[Any, Any]:
    """
    The fixtures `world` and `books` of a file of tests: one world for all, its books begun anew
    before each.
    """

    @pytest.fixture(scope="module")
    def world():
        with judged(policies) as made:
            yield made

    @pytest.fixture(autouse=True)
    def books(world):
        world.begin_anew()

    return world, books


def write(session, path, text):
    seen = session.run(f"with open('/ledger/{path}', 'w') as file: file.write({text!r})")
    assert seen.ok, seen.text
