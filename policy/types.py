"""
What a loaded policy is: plain, frozen data. `parse.py` makes it, `decide.py` reads it.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from policy.gates import GateRule


class Access(Enum):
    """
    What a file grant allows. `TRANSACTION` is writing that is the session's own until a commit.
    """

    READ = "read"
    READ_WRITE = "read-write"
    TRANSACTION = "transaction"

    @property
    def writes(self) -> bool:
        """
        Whether a session may change what it sees below the mount.
        """
        return self is not Access.READ

    def loosens(self, other: "Access") -> bool:
        """
        Whether this gives a session more than `other`: a commit can be refused where plain writing
        cannot.
        """
        order = (Access.READ, Access.TRANSACTION, Access.READ_WRITE)
        return order.index(self) > order.index(other)


class CommitBy(Enum):
    """
    Who may commit a transaction: the client alone, or the guest's own code as well.
    """

    GUEST = "guest"
    CLIENT = "client"


class Approval(Enum):
    """
    Who lets something be done that a policy grants: nobody has to, or a person, each time.
    """

    NONE = "none"
    REQUIRED = "required"


APPROVAL_EXPIRES = 600.0
"""For how long an approval is waited for where a policy does not say, in seconds."""


class Clock(Enum):
    """
    Which time the guest sees: `REAL` (floored to 1 ms), `FROZEN` at the image's time, or
    `VIRTUAL`, which begins there and is moved by the guest's own looks and waits alone.
    """

    REAL = "real"
    FROZEN = "frozen"
    VIRTUAL = "virtual"


class Mode(Enum):
    """
    What becomes of what a policy denies: it is denied, or, as far as a ceiling allows it too, it
    may be looked at and the record says that the policy denies it.
    """

    ENFORCE = "enforce"
    AUDIT = "audit"


class AuditLevel(Enum):
    """
    How much the record of a session holds: who asked for what, what was answered and what came of
    it, or also every input that a replay of the session needs.
    """

    DECISIONS = "decisions"
    REPLAY = "replay"


class CageKind(Enum):
    """
    What holds a session: a guest in WebAssembly, native Python in a restricted process, or
    whichever of the two has the image that is asked for.
    """

    WASM = "wasm"
    PROCESS = "process"
    ANY = "any"


class IsolationLevel(Enum):
    """
    How much holds a process of the process cage, from most to least; P0 holds nothing.
    """

    P4 = "P4"
    P3 = "P3"
    P2 = "P2"

    def holds(self, other: "IsolationLevel") -> bool:
        """
        Whether this level is `other` or a stricter one.
        """
        levels = list(IsolationLevel)
        return levels.index(self) <= levels.index(other)


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
    `commit_by` belongs to transactions, and is None for every other access; so do `gates`, all of
    which a commit has to pass, and `approval`, of each commit, and for how many seconds one is
    waited for.
    """

    mount: str
    source: str | None
    access: Access
    deny: tuple[str, ...]
    quota: int
    max_files: int
    rule: Rule
    deny_rules: tuple[Rule, ...] = ()
    commit_by: CommitBy | None = None
    approval: Approval = Approval.NONE
    approval_expires: float = APPROVAL_EXPIRES
    gates: tuple[GateRule, ...] = ()

    def for_reading(self) -> "FileGrant":
        """
        The grant without all that writing needs.
        """
        return replace(
            self,
            access=Access.READ,
            quota=0,
            max_files=0,
            commit_by=None,
            approval=Approval.NONE,
            approval_expires=APPROVAL_EXPIRES,
            gates=(),
        )


class AddressClass(Enum):
    """
    Kinds of addresses, each refused unless a network grant names it; `PUBLIC` is always granted
    and `RESERVED` (multicast, unspecified, tunnels, documentation and the like) never.
    """

    PUBLIC = "public"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    METADATA = "metadata"
    HOST = "host"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class HttpRule:
    """
    Requests that a network grant allows: `methods` in upper case, `paths` globs that begin with
    `/`, in which `*` stays within one segment and `**` crosses them.
    """

    methods: tuple[str, ...]
    paths: tuple[str, ...]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Credential:
    """
    What the server's side adds to each request and the guest never sees: the header `header`,
    with `prefix` and the content of the secret named `secret` as its value.
    """

    header: str
    secret: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class NetworkGrant:
    """
    Connections to one host, or to the names below one, on some ports.

    `host` is an A-label name in lower case, `*.` and such a name (one label or more in place of
    the star), or a literal address as inet_ntop(3) writes it. `tls` says that the server's side
    speaks TLS; `raw` that nobody reads the bytes, otherwise they must be HTTP/1.1 requests, of
    which `http` allows some, or all where it is empty. `max_bytes` counts both ways, for the
    lifetime of a session. `addresses` are the classes that the host may turn out to lie in,
    besides `PUBLIC`.
    """

    host: str
    ports: tuple[int, ...]
    tls: bool
    raw: bool
    http: tuple[HttpRule, ...]
    max_bytes: int
    credential: Credential | None
    addresses: frozenset[AddressClass]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Isolation:
    """
    The least that must hold a process of the process cage: a level, and items of the report that
    have to be enforced besides, by name (`memory`, `network`; see `codecage doctor`).
    """

    minimum: IsolationLevel = IsolationLevel.P3
    require: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProcessGrant:
    """
    What a session of the process cage may do with processes: `fork` children of its own, run the
    programs at `programs` (absolute host paths of files or directories, which it sees where they
    are), make memory executable that was writable (`new_code`, for compilers within a process).
    `program_rules` are the places of `programs`, one for each.
    """

    fork: bool
    programs: tuple[str, ...]
    new_code: bool
    rule: Rule
    program_rules: tuple[Rule, ...] = ()

    def places(self) -> dict[str, Rule]:
        """
        The programs, each with the rule that grants it.
        """
        rules = self.program_rules or (self.rule,) * len(self.programs)
        return dict(zip(self.programs, rules, strict=True))


class Effect(Enum):
    """
    What a tool's call may do: anything, or nothing but look. A call that may do anything is on disk
    in the record before it is done.
    """

    ACT = "act"
    READ = "read"


Scalar = bool | int | float | str
"""What an argument is compared with."""


@dataclass(frozen=True, slots=True)
class ArgumentBound:
    """
    What one argument of a tool has to be, for each call: a finite number from `least` to `most`
    (either may be None), a text of at most `longest` characters, or, where `allowed` is not None,
    one of those values, of the same type. One of the three is said; all else is denied.
    """

    name: str
    rule: Rule
    least: int | float | None = None
    most: int | float | None = None
    longest: int | None = None
    allowed: tuple[Scalar, ...] | None = None


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """
    A tool that the client offers and the guest may call, `max_calls` times in a session's life.
    Arguments without a bound may be anything. An approval is waited for as long as
    `approval_expires` says, in seconds.
    """

    name: str
    max_calls: int
    approval: Approval
    bounds: tuple[ArgumentBound, ...]
    rule: Rule
    effect: Effect = Effect.ACT
    approval_expires: float = APPROVAL_EXPIRES


class Happening(Enum):
    """
    What a ratchet waits for.
    """

    READ = "read"
    WRITE = "write"
    CONNECT = "connect"


@dataclass(frozen=True, slots=True)
class Ratchet:
    """
    Rights that are gone for the rest of a session's life once something has happened in it.

    `pattern` is an absolute glob of the guest's paths, or for `CONNECT` a host as in a grant;
    `revoke` are `network`, `tools` and `tools.NAME`, sorted.
    """

    event: Happening
    pattern: str
    revoke: tuple[str, ...]
    rule: Rule

    @property
    def event_text(self) -> str:
        """
        The event as a policy has it: `read /data/private/**`.
        """
        return f"{self.event.value} {self.pattern}"

    def same_event(self, other: "Ratchet") -> bool:
        """
        Whether both wait for the same.
        """
        return self.event_text == other.event_text


@dataclass(frozen=True, slots=True)
class Deny:
    """
    Names of host directories that no grant shows, whatever it says.

    `path` is an absolute glob of the guest's view, which hides what it matches and all beneath;
    `reason`, a sentence for the agent, may be empty.
    """

    path: str
    reason: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What one session may use. Every limit is finite; the defaults hold where a policy is silent.

    Sizes are bytes, times seconds. `output` counts one cell's stdout, stderr and displays;
    `cpu_time` and `wall_time` are for one cell; `files` is for the memory file system;
    `connections` are those open at a time; `cpus` are the processors that its threads may keep
    busy together, in hundredths at the finest.
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
    connections: int = 32
    sessions: int = 64
    cpus: float = 1.0


@dataclass(frozen=True, slots=True)
class Audit:
    """
    What the record holds of a session. `redact` are names, in which `*` is any run of characters:
    of what is called so, in no regard to case, the value is left out.
    """

    level: AuditLevel = AuditLevel.DECISIONS
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """
    One policy, checked and complete. Only `parse.py` and `builtin.py` make one.

    `digest` is the SHA-256 (hex) of the canonical form: equal meaning, equal digest. `file` is
    the name shown in messages, never a path of the host. `seed` fixes the guest's entropy
    where the policy asks for reproducible randomness. `rules` are the places of the keys that
    the file holds, such as `limits.memory`; ask `rule` for one. `images` are 1 to 16 names, none
    twice; a session may ask for any of them. `within` are the names of the ceilings, nearest first,
    that what the file says has been narrowed to; what is here is the result. `isolation` and
    `process` are about sessions of the process cage, and say nothing where `cage` is `WASM`.
    `imports` are modules that the guest is meant to use: guidance, which nothing enforces.
    `lenient` is what may be looked at besides in audit mode; None in every other. `audit` says what
    the record holds.
    """

    name: str
    description: str
    file: str
    images: tuple[str, ...] = ("core",)
    filesystem: tuple[FileGrant, ...] = ()
    network: tuple[NetworkGrant, ...] = ()
    limits: Limits = field(default_factory=Limits)
    environment: tuple[tuple[str, str], ...] = ()
    clock: Clock = Clock.REAL
    seed: int | None = None
    disclose: bool = False
    digest: str = ""
    rules: tuple[Rule, ...] = ()
    deny: tuple[Deny, ...] = ()
    within: tuple[str, ...] = ()
    cage: CageKind = CageKind.WASM
    isolation: Isolation = field(default_factory=Isolation)
    process: ProcessGrant | None = None
    imports: tuple[str, ...] | None = None
    tools: tuple[ToolGrant, ...] = ()
    after: tuple[Ratchet, ...] = ()
    mode: Mode = Mode.ENFORCE
    lenient: "Policy | None" = None
    audit: Audit = field(default_factory=Audit)

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
    `remedy`, which says to the administrator what would have to change, never. `network` is the
    grant that an answer about a connection, an address or a request comes from, `tool` the one of
    a call; `awaits_approval` says that the call is denied for nothing but want of an approval.
    `would_deny` is the rule that denies what only audit mode allows.
    """

    allowed: bool
    rule: Rule
    reason: str
    absent: bool = False
    grant: FileGrant | None = None
    remedy: str = ""
    network: NetworkGrant | None = None
    tool: ToolGrant | None = None
    awaits_approval: bool = False
    would_deny: Rule | None = None
