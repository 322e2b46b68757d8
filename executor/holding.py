"""
Whether a session can be held as its policy wants, in the process cage; a branch of `errors.py`.

    ExecutorError
    ├── CageNotAllowed      the policy has no session in the process cage
    ├── CageCannotKeep      the policy asks for something that the image's cage cannot enforce
    ├── CageMissing         this host lacks what every box, or a box for this policy, needs
    └── IsolationTooWeak    a box was made, and holds less than the policy insists on

Nothing here makes a weaker session of a stronger wish: what cannot be had is refused, by name.
"""

from executor.kernel.boxing import Holding
from executor.kernel.errors import ExecutorError, Status
from policy.cages import allows_cage, cage_gaps, cage_of
from policy.errors import shown
from policy.types import CageKind, IsolationLevel, Policy

_ENFORCED = "enforced"
_LONGEST_DETAIL = 1000
_CAGE = {CageKind.PROCESS: "process", CageKind.WASM: "WebAssembly"}
_OTHER = {CageKind.PROCESS: "WebAssembly", CageKind.WASM: "process"}


class CageNotAllowed(ExecutorError):
    """
    The image is one of the process cage, and the policy has its sessions in the other.
    """

    def __init__(self, policy: Policy, image: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "CAGE_NOT_ALLOWED",
            f"the image {shown(image)} runs in the {cage_of(image).value} cage, and the policy "
            f"{policy.name} has `cage: {policy.cage.value}`; ask for another image, or have the "
            "policy say `cage: any`",
            metadata={"policy": policy.name, "cage": policy.cage.value},
        )


class CageCannotKeep(ExecutorError):
    """
    The policy loads for another cage, and has rules that this image's could not keep.
    """

    def __init__(self, policy: Policy, image: str, gaps: tuple[str, ...]) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "CAGE_CANNOT_KEEP",
            f"the image {image} runs in the {_CAGE[cage_of(image)]} cage, which cannot keep the "
            f"policy {policy.name}: {_listed(gaps)}; ask for an image of the "
            f"{_OTHER[cage_of(image)]} cage, or have the policy changed",
            metadata={"policy": policy.name, "image": image},
        )


class CageMissing(ExecutorError):
    """
    The host of the server cannot make the box; `detail` says what it lacks.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "CAGE_MISSING",
            "the server's machine cannot hold a process as this session needs it: "
            f"{detail[:_LONGEST_DETAIL]}; ask for an image of the WebAssembly cage, or have the "
            "administrator look at `codecage doctor`",
            detail=detail,
        )


class IsolationTooWeak(ExecutorError):
    """
    The box holds less than the policy's `isolation` says; the metadata has its report.
    """

    def __init__(self, policy: Policy, holding: Holding, lacking: tuple[str, ...]) -> None:
        report = {f"isolation.{item.name}": item.state for item in holding.items}
        super().__init__(
            Status.FAILED_PRECONDITION,
            "ISOLATION_TOO_WEAK",
            f"the policy {policy.name} insists on more than holds a process here: "
            f"{_listed(lacking)}; ask for an image of the WebAssembly cage, have the host mended "
            "as `codecage doctor` says there, or have `isolation` in the policy lowered",
            metadata={"policy": policy.name, "isolation": holding.level, **report},
        )


def _listed(reasons: tuple[str, ...]) -> str:
    return "; ".join(reasons)[:_LONGEST_DETAIL]


def is_boxed(image: str) -> bool:
    """
    Whether sessions with this image run in the process cage.
    """
    return cage_of(image) is CageKind.PROCESS


def require_kept(policy: Policy, image: str) -> None:
    """
    See that the image's cage is one of the policy's, and can keep all that the policy says.

    Raises CageNotAllowed, CageCannotKeep.
    """
    if not allows_cage(policy, cage_of(image)):
        raise CageNotAllowed(policy, image)
    if gaps := cage_gaps(policy, cage_of(image)):
        raise CageCannotKeep(policy, image, tuple(gap.message for gap in gaps))


def require_held(policy: Policy, holding: Holding | None) -> None:
    """
    See that a box holds as much as the policy insists on. Raises IsolationTooWeak.
    """
    if holding is None:
        return
    lacking = []
    minimum = policy.isolation.minimum
    if not _reaches(holding.level, minimum):
        lacking.append(f"level {minimum.value} is asked for, and this is {holding.level}")
    found = {item.name: item for item in holding.items}
    for name in sorted(policy.isolation.require):
        item = found.get(name)
        if item is None:
            lacking.append(f"{name} is not reported")
        elif item.state != _ENFORCED:
            lacking.append(f"{name} is {item.state} ({item.how})")
    if lacking:
        raise IsolationTooWeak(policy, holding, tuple(lacking))


def _reaches(level: str, minimum: IsolationLevel) -> bool:
    # From most to least, as the enumeration has them.
    levels = [one.value for one in IsolationLevel]
    return level in levels and levels.index(level) <= levels.index(minimum.value)
