"""
The conformance programs: small pieces of Python as agents write it, one a file, by subject.

A program begins with a comment that says what it shows. Where it needs a later Python than the
oldest that is supported, the next line says so ("# Needs Python 3.12."), and the program ends
with "# Writes:" and its standard output as comments, because there may be no native Python to
compare it with.
"""

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OLDEST = (3, 11)

_NEEDS = re.compile(r"^# Needs Python (\d+)\.(\d+)\.$", re.MULTILINE)
_WRITES = "\n# Writes:\n"


@dataclass(frozen=True, slots=True)
class Program:
    """
    One program: `name` is `subject/name`, `needs` the oldest Python that runs it, `writes` its
    standard output where the file has it.
    """

    name: str
    code: str
    needs: tuple[int, int]
    writes: str | None

    @property
    def title(self) -> str:
        """
        What the program shows, as its first line says.
        """
        return self.code.partition("\n")[0].removeprefix("# ")


def programs() -> tuple[Program, ...]:
    """
    Every program, in the order of their names.
    """
    return tuple(_read(path) for path in sorted(HERE.glob("*/*.py")))


def _read(path: Path) -> Program:
    text = path.read_text(encoding="utf-8")
    code, _, written = text.partition(_WRITES)
    needs = _NEEDS.search(code)
    return Program(
        name=str(path.relative_to(HERE).with_suffix("")),
        code=code,
        needs=(int(needs[1]), int(needs[2])) if needs else OLDEST,
        writes=_uncommented(written) if written else None,
    )


def _uncommented(written: str) -> str:
    return "".join(line[1:].removeprefix(" ") for line in written.splitlines(keepends=True))
