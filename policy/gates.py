"""
What a policy says of gates: who judges a commit before anything of it is done.

A gate is a program that runs in a cage on a copy of the merged tree and answers yes or no. What it
reads was written by an agent, so it matters whether that can make it run code (`Trust`).
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policy.types import Policy, Rule


class Builtin(Enum):
    """
    The gates that come with Codecage.
    """

    BEAN_CHECK = "bean-check"


class Trust(Enum):
    """
    What the judged files are to the gate: data alone, so that its yes is its own; or code that it
    runs (tests, a build), which can forge a yes and whose no is still a no.
    """

    DATA = "data"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class GateRule:
    """
    One gate, as a mount has it. All paths and globs are relative to the mount.

    `builtin` says which of ours it is; else `program` is an absolute host path of a Python file,
    of which `sha256` (hex) is the digest. `file` is where a builtin begins to read. `on` are globs
    of what it judges: a commit that changes none of it is not judged, and the gate sees nothing
    else. `protected` are globs that a judged commit may not change. `timeout` is in seconds,
    `memory` in bytes, `max_deleted` in lines that a commit may remove or change, None for any
    number. `plugins` are modules that the judged files may name.
    """

    name: str
    builtin: Builtin | None
    program: str
    sha256: str
    image: str
    file: str
    on: tuple[str, ...]
    protected: tuple[str, ...]
    trust: Trust
    timeout: float
    memory: int
    max_deleted: int | None
    plugins: tuple[str, ...]
    rule: "Rule"

    @property
    def meaning(self) -> dict[str, object]:
        """
        All but the place in the file, with what has no order sorted: equal meaning, equal gate.
        """
        return {
            "name": self.name,
            "builtin": self.builtin.value if self.builtin else None,
            "program": self.program,
            "sha256": self.sha256,
            "image": self.image,
            "file": self.file,
            "on": sorted(set(self.on)),
            "protected": sorted(set(self.protected)),
            "trust": self.trust.value,
            "timeout": self.timeout,
            "memory": self.memory,
            "max_deleted": self.max_deleted,
            "plugins": sorted(set(self.plugins)),
        }


def joined_gates(first: tuple[GateRule, ...], second: tuple[GateRule, ...]) -> tuple[GateRule, ...]:
    """
    The gates of both, each meaning once: whoever is judged by two is judged by each.
    """
    known = [one.meaning for one in first]
    return (*first, *(one for one in second if one.meaning not in known))


def gate_images(policy: "Policy") -> tuple[str, ...]:
    """
    The images that the gates of a policy run in, each once.
    """
    gates = (gate for grant in policy.filesystem for gate in grant.gates)
    return tuple(dict.fromkeys(gate.image for gate in gates))
