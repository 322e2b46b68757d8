"""
A second reading of what a policy means, written the slow way and for reading: no tables, no
automata, no code of `policy/decide*.py`. And a source of policies and requests to compare with.

It looks at every grant for every request and matches globs by trying everything.
"""

import ipaddress
from dataclasses import replace
from itertools import product

from policy.requests import (
    AddressRequest,
    CommitRequest,
    FileAction,
    FileRequest,
    HttpRequest,
    ImageRequest,
    ImportRequest,
    NetworkRequest,
    ProcessRequest,
    ResolveRequest,
    SocketRequest,
    ToolRequest,
    tool_request,
)
from policy.types import (
    Access,
    AddressClass,
    Approval,
    ArgumentBound,
    Audit,
    AuditLevel,
    CageKind,
    Clock,
    CommitBy,
    Credential,
    Deny,
    FileGrant,
    HttpRule,
    Isolation,
    IsolationLevel,
    Limits,
    NetworkGrant,
    Policy,
    ProcessGrant,
    Rule,
    ToolGrant,
)


def allows(policy, request):
    if isinstance(request, FileRequest):
        return allows_file(policy, request)
    if isinstance(request, ImageRequest):
        return request.image in policy.images
    if isinstance(request, ProcessRequest):
        return allows_program(policy, request.program)
    if isinstance(request, ImportRequest):
        parts = request.module.split(".")
        starts = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        return policy.imports is None or any(one in policy.imports for one in starts)
    if isinstance(request, ToolRequest):
        return allows_call(policy, request)
    if isinstance(request, CommitRequest):
        return allows_commit(policy, request)
    if isinstance(request, SocketRequest):
        return False
    return allows_network(policy, request)


# Tools


def allows_call(policy, request):
    for tool in policy.tools:
        if tool.name == request.tool:
            break
    else:
        return False
    if tool.approval is Approval.REQUIRED and not request.approved:
        return False
    if request.earlier >= tool.max_calls or (tool.bounds and request.open_ended):
        return False
    given = dict(request.arguments)
    return all(bound.name in given and keeps(bound, given[bound.name]) for bound in tool.bounds)


def keeps(bound, value):
    if bound.allowed is not None:
        return repr(value) in [repr(one) for one in bound.allowed]
    if bound.longest is not None:
        return isinstance(value, str) and len(value) <= bound.longest
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low = float("-inf") if bound.least is None else bound.least
    high = float("inf") if bound.most is None else bound.most
    return low <= value <= high and abs(value) != float("inf")


# Programs


def allows_program(policy, program):
    if policy.process is None:
        return False
    if program == "fork":
        return policy.process.fork
    parts = program.split("/")
    if parts[0] != "" or any(one in {"", ".", ".."} for one in parts[1:]):
        return False
    return any(below(one, parts[1:]) is not None for one in policy.process.programs)


# Files


def allows_commit(policy, request):
    for grant in policy.filesystem:
        if (grant.mount, grant.access) == (request.path, Access.TRANSACTION):
            return request.by_client or grant.commit_by is CommitBy.GUEST
    return False


def allows_file(policy, request):
    parts = request.path.split("/")
    if parts[0] != "" or (request.path != "/" and any(one in {"", ".", ".."} for one in parts[1:])):
        return False
    parts = parts[1:]
    holding = [one for one in policy.filesystem if below(one.mount, parts) is not None]
    if not holding:
        return False
    grant = max(holding, key=lambda one: one.mount.count("/"))
    rest = below(grant.mount, parts)
    if grant.source is not None and any(hides(one.path[1:], parts) for one in policy.deny):
        return False
    if any(hides(glob, rest) for glob in grant.deny):
        return False
    if request.action in {FileAction.STAT, FileAction.LIST, FileAction.READ}:
        return True
    if grant.access is Access.READ:
        return False
    holds_mount = any(
        one.mount == request.path or one.mount.startswith(request.path + "/")
        for one in policy.filesystem
    )
    if holds_mount and request.action in {
        FileAction.CREATE,
        FileAction.REMOVE,
        FileAction.REMOVE_DIRECTORY,
        FileAction.RENAME,
    }:
        return False
    return grant.source is None or not any(part.lower() in GUARDED for part in rest)


GUARDED = {".git", "makefile"}


def below(mount, parts):
    head = mount[1:].split("/")
    return parts[len(head) :] if parts[: len(head)] == head else None


def hides(glob, parts):
    """
    Whether the glob matches the path or a directory above it.
    """
    return any(matches(glob.split("/"), parts[:end]) for end in range(len(parts) + 1))


def matches(glob, parts):
    if not glob:
        return not parts
    if glob[0] == "**":
        return any(matches(glob[1:], parts[start:]) for start in range(len(parts) + 1))
    return bool(parts) and text_matches(glob[0], parts[0]) and matches(glob[1:], parts[1:])


def text_matches(glob, text):
    if not glob:
        return not text
    if glob[0] == "*":
        return any(text_matches(glob[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and glob[0] in {"?", text[0]} and text_matches(glob[1:], text[1:])


# Connections


def allows_network(policy, request):
    host = request.host.lower().removesuffix(".")
    literal = is_literal(host)
    covering = [
        one.host
        for one in policy.network
        if one.host == host
        or (
            not literal
            and one.host[0] == "*"
            and host.endswith(one.host[1:])
            and host != one.host[2:]
        )
    ]
    if not covering:
        return False
    speaking = max(covering, key=lambda one: (one == host, len(one)))
    grants = [one for one in policy.network if one.host == speaking]
    if isinstance(request, ResolveRequest):
        return True
    grants = [one for one in grants if request.port in one.ports]
    if not grants:
        return False
    (grant,) = grants
    if isinstance(request, AddressRequest):
        same = not literal or request.address == host
        return same and (
            CLASSES[request.address] is AddressClass.PUBLIC
            or CLASSES[request.address] in grant.addresses
        )
    if isinstance(request, HttpRequest):
        return allows_request(grant, request)
    return True


def is_literal(host):
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def allows_request(grant, request):
    if grant.raw or grant.tls != request.tls or request.method not in {"GET", "POST"}:
        return False
    if "//" in request.path or ";" in request.path or ".." in request.path:
        return False
    if not grant.http:
        return True
    return any(
        request.method in rule.methods
        and path_matches(path[1:].split("/"), request.path[1:].split("/"))
        for rule in grant.http
        for path in rule.paths
    )


def path_matches(glob, segments):
    if not glob:
        return not segments
    if glob[0] == "**":
        return any(path_matches(glob[1:], segments[start:]) for start in range(len(segments) + 1))
    if not segments or ("*" in glob[0] and not segments[0]):
        return False
    return text_matches(glob[0], segments[0]) and path_matches(glob[1:], segments[1:])


# What is asked

NAMES = ["a", "b", "ab", "Makefile", ".git", "a.key"]
MOUNTS = ["/data", "/data/a", "/data/b", "/work", "/work/a", "/ab"]
GLOBS = ["a", "*.key", "**/*.key", "a/**", "a/b", "?b", "**/b", "*/a", "**", "*"]
HOSTS = ["x.org", "a.x.org", "b.a.x.org", "y.net", "9.9.9.9"]
PATTERNS = [*HOSTS, "*.x.org", "*.a.x.org"]
PATHS = ["/**", "/a", "/a/*", "/a/**", "/*/b", "/a*", "/**/b", "/a/b"]
PROGRAMS = ["/usr/bin/git", "/opt/tools", "/opt/tools/a", "/opt/other/a"]
MODULES = ["a", "a.b", "b", "ab", "b.a"]
TOOLS = ["search", "send"]
ARGUMENTS = ["n", "m"]
VALUES = [0, 1, 2, 3, 1.0, 2.5, True, False, None, "", "a", "bb", "ccc", [1], float("nan")]
RUN = [*PROGRAMS, "/opt/tools/b/c", "/opt", "/opt/tools/../other/a", "git", "fork", "//opt/tools"]
CLASSES = {
    "9.9.9.9": AddressClass.PUBLIC,
    "10.0.0.1": AddressClass.PRIVATE,
    "127.0.0.1": AddressClass.LOOPBACK,
    "240.0.0.1": AddressClass.RESERVED,
}


def some(chance, values, most):
    return chance.sample(values, chance.randint(0, min(most, len(values))))


def random_policy(chance, name="p"):
    """
    A policy that could have been loaded: what `lint.py` refuses is not made.
    """
    grants = []
    for mount in some(chance, MOUNTS, 3):
        outer = [
            one
            for one in grants
            if mount.startswith(one.mount + "/") or one.mount.startswith(mount + "/")
        ]
        if any(one.source is not None for one in outer):
            continue
        scratch = bool(outer) or chance.random() < 0.2
        writable = scratch or chance.random() < 0.5
        globs = () if scratch else tuple(some(chance, GLOBS, 2))
        rule = Rule(f"filesystem[{len(grants)}]", f"{name}.yaml", len(grants) + 1)
        source = None if scratch else "/srv" + mount
        access = Access.READ_WRITE if writable else Access.READ
        if writable and not scratch and chance.random() < 0.3:
            access = Access.TRANSACTION
        by = chance.choice(list(CommitBy)) if access is Access.TRANSACTION else None
        sizes = (chance.choice([1000, 2000]), chance.choice([10, 20])) if writable else (0, 0)
        grants.append(FileGrant(mount, source, access, globs, *sizes, rule, commit_by=by))
    denies = [
        Deny("/" + glob, "", Rule(f"deny[{index}]", f"{name}.yaml"))
        for index, glob in enumerate(some(chance, ["data/b", "**/*.key", "data/*/a"], 2))
    ]
    policy = Policy(
        name, "", f"{name}.yaml",
        images=tuple(chance.sample(["core", "math", "web"], chance.randint(1, 3))),
        filesystem=tuple(grants),
        network=tuple(random_network(chance, name)),
        limits=replace(Limits(), cells=chance.choice([5, 50]), scratch=chance.choice([2000, 4000])),
        clock=chance.choice([Clock.REAL, Clock.REAL, Clock.FROZEN, Clock.VIRTUAL]),
        seed=chance.choice([None, None, 1, 2]),
        disclose=chance.random() < 0.5,
        deny=tuple(denies),
        imports=chance.choice([None, None, *(tuple(some(chance, MODULES, 2)) for _ in range(2))]),
        tools=tuple(random_tools(chance, name)),
        audit=Audit(
            chance.choice(list(AuditLevel)), tuple(some(chance, ["*token*", "pin", "x-*"], 2))
        ),
    )  # fmt: skip
    return in_a_cage(chance, policy)


def in_a_cage(chance, policy):
    """
    The policy in the cage of WebAssembly, in the other one, or in either.
    """
    kind = chance.choice([CageKind.WASM, CageKind.WASM, CageKind.ANY, CageKind.PROCESS])
    if kind is CageKind.WASM:
        return policy
    native = tuple(chance.sample(["native-core", "native-data"], chance.randint(1, 2)))
    isolation = Isolation(
        chance.choice(list(IsolationLevel)), frozenset(some(chance, ["memory", "network"], 2))
    )
    rule = Rule("process", policy.file)
    grant = ProcessGrant(
        chance.random() < 0.5, tuple(some(chance, PROGRAMS, 2)), chance.random() < 0.5, rule
    )
    held = replace(
        policy,
        cage=kind,
        images=(*policy.images, *native),
        isolation=isolation,
        process=chance.choice([grant, grant, None]),
    )
    if kind is CageKind.ANY:
        return held
    # What the process cage cannot keep makes no policy of it.
    plain = tuple(replace(one, http=(), credential=None) for one in policy.network)
    return replace(held, images=native, seed=None, clock=Clock.REAL, network=plain)


def random_tools(chance, name):
    for index, tool in enumerate(some(chance, TOOLS, 2)):
        rule = Rule(f"tools[{index}]", f"{name}.yaml", index + 1)
        bounds = [random_bound(chance, one, rule) for one in some(chance, ARGUMENTS, 2)]
        approval = chance.choice([Approval.NONE, Approval.NONE, Approval.REQUIRED])
        yield ToolGrant(tool, chance.choice([1, 3]), approval, tuple(bounds), rule)


def random_bound(chance, name, rule):
    kind = chance.randrange(4)
    if kind == 0:
        return ArgumentBound(name, rule, allowed=tuple(chance.sample([1, 2, True, "a", "bb"], 3)))
    if kind == 1:
        return ArgumentBound(name, rule, longest=chance.choice([1, 2]))
    return ArgumentBound(
        name,
        rule,
        least=chance.choice([None, 0, 0.5]) if kind == 2 else 1,
        most=chance.choice([2, 2.5]) if kind == 2 else chance.choice([None, 3]),
    )


def random_network(chance, name):
    places = chance.sample(list(product(PATTERNS, [80, 443])), chance.randint(0, 4))
    for index, (host, port) in enumerate(places):
        rule = Rule(f"network[{index}]", f"{name}.yaml", index + 1)
        raw = chance.random() < 0.1
        rules = [
            HttpRule(
                tuple(chance.sample(["GET", "POST"], chance.randint(1, 2))),
                tuple(chance.sample(PATHS, 2)),
                rule,
            )
            for _ in range(0 if raw else chance.randint(0, 2))
        ]
        credential = (
            Credential("X-Key", "k")
            if not raw and host[0] != "*" and chance.random() < 0.2
            else None
        )
        classes = frozenset(some(chance, [AddressClass.PRIVATE, AddressClass.LOOPBACK], 2))
        tls = credential is not None or chance.random() < 0.7
        yield NetworkGrant(
            host,
            (port,),
            tls,
            raw,
            tuple(rules),
            chance.choice([100, 200]),
            credential,
            classes,
            rule,
        )


def random_request(chance):
    kind = chance.randrange(11)
    if kind == 10:
        return random_call(chance)
    if kind < 5:
        parts = [
            chance.choice([one[1:] for one in MOUNTS]),
            *(chance.choice(NAMES) for _ in range(chance.randint(0, 3))),
        ]
        tail = chance.choice(["", "", "", "", "/..", "/", "//a"])
        return FileRequest(chance.choice(list(FileAction)), "/" + "/".join(parts) + tail)
    host = chance.choice([*HOSTS, "z.x.org", "A.X.org.", "xx.org", "10.0.0.1"])
    port = chance.choice([80, 443, 443, 8080])
    if kind == 5:
        return chance.choice([NetworkRequest(host, port), ResolveRequest(host)])
    if kind == 6:
        return AddressRequest(host, port, chance.choice(list(CLASSES)))
    if kind == 7:
        return chance.choice(
            [
                ImageRequest("core"),
                ImageRequest("web"),
                ImageRequest("other"),
                ImageRequest("native-core"),
                SocketRequest("udp"),
                ImportRequest(chance.choice(MODULES)),
                *(ProcessRequest(one) for one in chance.sample(RUN, 3)),
            ]
        )
    path = "/" + "/".join(chance.choice(["a", "b", "ab", ""]) for _ in range(chance.randint(0, 3)))
    return HttpRequest(
        host, port, chance.random() < 0.7, chance.choice(["GET", "POST", "TRACE"]), path
    )


def random_commit(chance):
    """
    Apart from the others: what is committed is not written at once, and so is a narrower right.
    """
    return CommitRequest(chance.choice([*MOUNTS, "/data/", "/"]), chance.random() < 0.5)


def random_call(chance):
    values = {name: chance.choice(VALUES) for name in some(chance, [*ARGUMENTS, "o"], 3)}
    return tool_request(
        chance.choice([*TOOLS, "other"]),
        values,
        open_ended=chance.random() < 0.1,
        earlier=chance.choice([0, 0, 1, 3]),
        approved=chance.random() < 0.5,
    )
