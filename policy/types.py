"""
What a loaded policy is: plain, frozen data. `parse.py` makes it, `decide.py` reads it.
"""

from dataclasses import dataclass, field
from enum import Enum


class Access(Enum):
    """
    What a file grant allows.
    """

    READ = "read"
    READ_WRITE = "read-write"


class Clock(Enum):
    """
    Which time the guest sees: `REAL` (floored to 1 ms), `FROZEN` at the image's time, or
    `VIRTUAL`, which begins there and is moved by the guest's own looks and waits alone.
    """

    REAL = "real"
    FROZEN = "frozen"
    VIRTUAL = "virtual"


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Where a decision comes from: the rule's name (`filesystem[0]`) and its place in the file.

    `line` and `column` count from 1; both are 0 for a rule that no file holds (the default of
    a section that is absent), and `file` is then the policy's own. `text` is the line itself,
    for the administrator's eyes.
    """

    name: str
    file: str
    line: int = 0
    column: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.file}:{self.line})" if self.line else self.name


@dataclass(frozen=True, slots=True)
class FileGrant:
    """
    A mount of the guest: a host directory or, with `source` None, scratch memory of the session.

    `mount` is an absolute guest path; `source` an absolute host path, decided by the
    administrator and never shown to the guest; `deny` are globs relative to the mount, in which
    `**` crosses directories; `quota` is in bytes and `max_files` in files: what the session may
    add below the mount in its lifetime. `deny_rules` are the places of `deny`, one for each.
    """

    mount: str
    source: str | None
    access: Access
    deny: tuple[str, ...]
    quota: int
    max_files: int
    rule: Rule
    deny_rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What one session may use. Every limit is finite; the defaults hold where a policy is silent.

    Sizes are bytes, times seconds. `output` counts one cell's stdout, stderr and displays;
    `cpu_time` and `wall_time` are for one cell; `files` is for the memory file system.
    """

    memory: int = 512 * 2**20
    cpu_time: float = 30.0
    wall_time: float = 60.0
    output: int = 2**20
    cells: int = 1000
    idle_timeout: float = 900.0
    scratch: int = 64 * 2**20
    files: int = 4096
    open_files: int = 256
    requests: int = 100_000
    sessions: int = 64


@dataclass(frozen=True, slots=True)
class Policy:
    """
    One policy, checked and complete. Only `parse.py` and `builtin.py` make one.

    `digest` is the SHA-256 (hex) of the canonical form: equal meaning, equal digest. `file` is
    the name shown in messages, never a path of the host. `seed` fixes the guest's entropy
    where the policy asks for reproducible randomness. `rules` are the places of the keys that
    the file holds, such as `limits.memory`; ask `rule` for one. `images` are 1 to 16 names, none
    twice; a session may ask for any of them.
    """

    name: str
    description: str
    file: str
    images: tuple[str, ...] = ("core",)
    filesystem: tuple[FileGrant, ...] = ()
    limits: Limits = field(default_factory=Limits)
    environment: tuple[tuple[str, str], ...] = ()
    clock: Clock = Clock.REAL
    seed: int | None = None
    disclose: bool = False
    digest: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def image(self) -> str:
        """
        The image of a session that asks for none: the first.
        """
        return self.images[0]

    def rule(self, name: str) -> Rule:
        """
        The place of the key `name`, such as `limits.memory`; without line where it is a default.
        """
        return next((rule for rule in self.rules if rule.name == name), Rule(name, self.file))


@dataclass(frozen=True, slots=True)
class Decision:
    """
    The answer to one request, with the rule that gave it and a sentence for the agent.

    `absent` says that the object must look as if it did not exist (ENOENT): a denied name
    below a grant, and everything that no grant covers. `reason` may be told to the guest;
    `remedy`, which says to the administrator what would have to change, never.
    """

    allowed: bool
    rule: Rule
    reason: str
    absent: bool = False
    grant: FileGrant | None = None
    remedy: str = ""
