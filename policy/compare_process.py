"""
What became looser between two policies of the process cage: the cage, what holds it, and what a
session may do with processes there.
"""

from collections.abc import Iterator

from policy.cages import allows_cage
from policy.paths import is_within
from policy.types import CageKind, Policy, ProcessGrant


def processes_gained(old: Policy, new: Policy) -> Iterator[tuple[str, str]]:
    """
    What `new` allows and `old` does not, each as a place and a text.
    """
    for kind in (CageKind.WASM, CageKind.PROCESS):
        if allows_cage(new, kind) and not allows_cage(old, kind):
            yield "cage", f"{kind.value}"
    if not allows_cage(new, CageKind.PROCESS):
        return
    if allows_cage(old, CageKind.PROCESS):
        yield from _less_isolation(old, new)
    if new.process is not None:
        yield from _acts(old.process, new.process)


def _less_isolation(old: Policy, new: Policy) -> Iterator[tuple[str, str]]:
    least, before = new.isolation.minimum, old.isolation.minimum
    if not least.holds(before):
        yield "isolation.min", f"{least.value}, not {before.value}"
    for item in old.isolation.require - new.isolation.require:
        yield "isolation.require", f"{item} may be absent"


def _acts(old: ProcessGrant | None, new: ProcessGrant) -> Iterator[tuple[str, str]]:
    if new.fork and not (old and old.fork):
        yield "process.fork", "children may be forked"
    for program in new.programs:
        if not any(is_within(program, one) for one in (old.programs if old else ())):
            yield "process.programs", f"{program}"
    if new.new_code and not (old and old.new_code):
        yield "process.new_code", "memory that was written may be run"
