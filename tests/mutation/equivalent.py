"""
The mutants that no test can catch as they change nothing that anybody could see: by name, in
`equivalent.toml`, each with its reason.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from operators import Mutant

TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class Equivalent:
    """
    In `function` of the module `module`, `after` does what `before` does; `why` says why.
    """

    module: str
    function: str
    before: str
    after: str
    why: str


def equivalents(path: Path = TABLE) -> set[Equivalent]:
    """
    The rows of the table. ValueError where one is without a reason, or is there twice.
    """
    rows = [Equivalent(**row) for row in tomllib.loads(path.read_text())["mutant"]]
    for row in rows:
        if not row.why.strip() or rows.count(row) > 1:
            raise ValueError(f"{path.name}: {row}")
    return set(rows)


def row_of(rows: set[Equivalent], module: str, mutant: Mutant) -> Equivalent | None:
    """
    The row that names a mutant.
    """
    named = (module, mutant.name, mutant.before, mutant.after)
    found = [row for row in rows if (row.module, row.function, row.before, row.after) == named]
    return found[0] if found else None
