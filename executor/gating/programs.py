"""
The code of a gate, as the cell that its cage runs: ours, or an administrator's file.

The cell ends with an expression whose value is the answer. A program of the administrator's passes
by coming to its end, or by `sys.exit()` and `sys.exit(0)`; it finds TREE and BEFORE, the
directories of the files after and before the commit, and CHANGED, the paths that change.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from executor.kernel.frames import MAX_CODE
from policy.gates import GateRule

if TYPE_CHECKING:
    # `codecage policy check` reads programs too, and commits nothing.
    from executor.kernel.judging import Case

TREE: Final = "/tree"
BEFORE: Final = "/before"
"""Where a gate finds what it judges."""
MOST_PROGRAM: Final = 2**18
# Read when this is imported, as root perhaps: the account may not see where it lies.
_BEAN_CHECK: Final = (Path(__file__).parent / "guest" / "bean_check.py").read_text(encoding="utf-8")
_WRAPPED: Final = """\
def gate(source, names):
    import sys, traceback
    try:
        exec(compile(source, "gate", "exec"), names)
    except SystemExit as end:
        if end.code in (None, 0):
            return "passed"
        if isinstance(end.code, str):
            print(end.code)
        return "failed"
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return "failed"
    return "passed"
"""


@dataclass(frozen=True, slots=True)
class NoProgram(Exception):
    """
    A gate cannot be run; `why` is a sentence for its administrator, `told` one for its agent.
    """

    why: str
    told: str = "its program is not the one that the policy names"


def code_of(case: "Case") -> str:
    """
    The cell that judges a case. Raises NoProgram, and OSError where the program cannot be read.
    """
    code = _code_of(case)
    if (size := len(code.encode())) > MAX_CODE:
        raise NoProgram(f"its cell has {size} bytes, and {MAX_CODE} are allowed", _TOO_MUCH)
    return code


_TOO_MUCH: Final = "the commit changes more paths than it can be told of; commit fewer at a time"


def _code_of(case: "Case") -> str:
    gate, changed = case.gate, [one.path for one in case.changes if not one.directory]
    if gate.builtin is not None:
        told = {
            "file": gate.file,
            "plugins": gate.plugins,
            "max_deleted": gate.max_deleted,
            "changed": changed,
        }
        return f"{_BEAN_CHECK}\njudge({_literal(told)})"
    names = {"__name__": "__main__", "TREE": TREE, "BEFORE": BEFORE, "CHANGED": changed}
    return f"{_WRAPPED}\ngate({program_of(gate)!r}, {_literal(names)})"


def program_of(gate: GateRule) -> str:
    """
    The text of a gate's own program. Raises NoProgram where it is not the one that the policy
    names, and OSError where it cannot be read.
    """
    with Path(gate.program).open("rb") as file:
        data = file.read(MOST_PROGRAM + 1)
    if len(data) > MOST_PROGRAM:
        raise NoProgram(f"{gate.program} has more than {MOST_PROGRAM // 1024} KiB")
    if (found := hashlib.sha256(data).hexdigest()) != gate.sha256:
        raise NoProgram(f"{gate.program} has sha256 {found}, and the policy names {gate.sha256}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NoProgram(f"{gate.program} is no text in UTF-8") from error


def _literal(value: object) -> str:
    """
    Plain data as an expression of Python's, whatever is in its texts.
    """
    return f"__import__('json').loads({json.dumps(value)!r})"
