"""
Policies of other programs as policies of this one, which grant no more than those did.

What has a counterpart becomes an entry, with the line of its origin above it. What has none, or one
that would be wider, is said in a comment and left out, and so is what this program refuses as
dangerous: the policy is read with each entry before that is kept. The denial of a path that cannot
be compared with what is granted (`~/.ssh`, a pattern) is named, for a person to look at; that of a
host leaves out what it might hold.

Sources: the settings of Anthropic's sandbox-runtime (srt-settings.json), Deno's manual on
permissions (flags and `permissions` in deno.json), Docker's manual on seccomp profiles.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from policy.errors import PolicyError, shown
from policy.hosts import covers, host_problem
from policy.parse import parse
from policy.paths import is_within
from policy.proposal_text import quoted


class Origin(Enum):
    """
    Whose policy is read.
    """

    SRT = "srt"
    DENO = "deno"
    DOCKER_SECCOMP = "docker-seccomp"


class NotImportedError(ValueError):
    """
    The text is not what it was said to be.
    """


@dataclass(slots=True)
class _Draft:
    """
    The entries by section, each with what it comes from, and what was left out and why.
    """

    entries: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    cage: str = ""
    name: str = "imported"
    origin: Origin = Origin.SRT

    def add(self, section: str, entry: str, of: str) -> None:
        """
        Add an entry if it is one, else say why not.
        """
        held = self.entries.setdefault(section, [])
        if any(entry == other for other, _ in held):
            return
        held.append((entry, of))
        if problem := self.problem():
            held.pop()
            self.leave_out(of, problem)

    def problem(self) -> str:
        """
        What is wrong with all that is there so far.
        """
        try:
            parse(_written(self), file="imported.yaml", base="/imported")
        except PolicyError as error:
            return f"{error.problems[0].message}; {error.problems[0].hint}"
        return ""

    def leave_out(self, of: str, why: str) -> None:
        """
        Say that something has no counterpart here.
        """
        self.left_out.append(f"{shown(of, 120)}: {shown(why, 300)}")


def imported(origin: Origin, text: str, name: str) -> str:
    """
    The policy called `name` that `text` comes to. Raises NotImportedError.
    """
    draft = _Draft(name=name, origin=origin)
    if problem := draft.problem():
        raise NotImportedError(problem)
    _READERS[origin](text, draft)
    return _written(draft)


def _written(draft: _Draft) -> str:
    lines = ["version: 1", f"name: {quoted(draft.name)}"]
    lines.append(f"description: Imported from {draft.origin.value}.")
    lines += draft.cage.splitlines()
    for section, entries in draft.entries.items():
        if not entries:
            continue
        lines.append(f"{section}:")
        for entry, of in entries:
            lines += [f"  # {shown(of, 120)}", f"  - {{{entry}}}"]
    if draft.left_out:
        lines += ["# Left out, because nothing here means the same or less:"]
        lines += [f"#   {one}" for one in draft.left_out]
    return "\n".join([*lines, ""])


def _json(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotImportedError(f"this is no JSON: {error}") from error
    return _mapping(found, "the file")


def _mapping(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise NotImportedError(f"{what} is no object")
    return value


def _texts(value: object, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise NotImportedError(f"{what} is no list of texts")
    return value


# Paths and hosts


def _mount(draft: _Draft, path: str, access: str, of: str, denied: list[str]) -> None:
    """
    A directory, at its own absolute path or, where that is relative, by its name.
    """
    plain = posixpath.normpath(path)
    if _is_pattern(path) or plain.startswith(".."):
        draft.leave_out(of, "a pattern or a path outside names no directory that can be mounted")
        return
    relative = not plain.startswith("/")
    mount = plain if not relative else "/project" if plain == "." else f"/project-{_slug(plain)}"
    source = plain if not relative else "./" + ("" if plain == "." else plain)
    if source == "./":
        draft.leave_out(of, "the directory of the policy itself is never granted: name one in it")
        return
    denied = [posixpath.normpath(one) for one in denied]
    if any(_lies_in(plain, one) for one in denied):
        draft.leave_out(of, "it is denied as well")
        return
    for one in denied:
        if _is_pattern(one) or one.startswith("/") == relative or one.startswith(".."):
            draft.leave_out(f"the denial of {one}", f"see that it does not lie in {mount}")
    inside = [one for one in denied if one.startswith(plain + "/")]
    globs = [quoted(one.removeprefix(plain + "/")) for one in inside]
    deny = f", deny: [{', '.join(globs)}]" if globs else ""
    entry = f"mount: {quoted(mount)}, source: {quoted(source)}, access: {access}{deny}"
    draft.add("filesystem", entry, of)


def _is_pattern(path: str) -> bool:
    return re.search(r"[*?\[\]~$]", path) is not None


def _lies_in(path: str, holder: str) -> bool:
    return is_within(path, holder) or set(holder.split("/")) <= {".", ".."}


def _slug(path: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", path).strip("-")


def _host(draft: _Draft, place: str, of: str, denied: list[str]) -> None:
    """
    A host, over https alone where no port is said.
    """
    host, port = _cut(place)
    for one in denied:
        other, _ = _cut(one)
        if host_problem(other) is not None:
            draft.leave_out(of, f"nobody can say here whether the denied {one} holds it")
            return
        if covers(other, host) or covers(host, other):
            draft.leave_out(of, "a denied host lies in it, or it in one")
            return
    ports = f", ports: [{port}]" if port else ""
    scheme = ", scheme: http" if port == "80" else ""
    methods = "[GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]"
    rules = f"http: [{{methods: {methods}}}]"
    draft.add("network", f"host: {quoted(host)}{ports}{scheme}, {rules}", of)


def _cut(place: str) -> tuple[str, str]:
    """
    The host and the port, "" where there is none, of a place.
    """
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():
        host, port = place, ""
    return host.lower().removesuffix("."), port


# sandbox-runtime


def _srt(text: str, draft: _Draft) -> None:
    settings = _json(text)
    network = _mapping(settings.pop("network", {}), "network")
    files = _mapping(settings.pop("filesystem", {}), "filesystem")
    denied = _texts(network.pop("deniedDomains", []), "network.deniedDomains")
    for domain in _texts(network.pop("allowedDomains", []), "network.allowedDomains"):
        _host(draft, domain, f"network.allowedDomains {domain}", denied)
    unread = _texts(files.pop("denyRead", []), "filesystem.denyRead")
    unwritten = _texts(files.pop("denyWrite", []), "filesystem.denyWrite")
    for path in _texts(files.pop("allowWrite", []), "filesystem.allowWrite"):
        _mount(draft, path, "read-write", f"filesystem.allowWrite {path}", [*unread, *unwritten])
    draft.leave_out("reading everything but denyRead", "name the directories that may be read")
    _rest(draft, {"network": network, "filesystem": files, "": settings})


def _rest(draft: _Draft, sections: dict[str, dict[str, object]]) -> None:
    for name, section in sections.items():
        for key, value in section.items():
            if value not in (None, False, [], {}):
                draft.leave_out(f"{name}.{key}".removeprefix("."), "it has no counterpart")


# Deno


def _deno(text: str, draft: _Draft) -> None:
    given = dict(_deno_json(text) if text.lstrip().startswith("{") else _deno_flags(text))
    unread, unwritten, unmet = (given.pop(f"deny-{one}", []) for one in ("read", "write", "net"))
    if None in (unread, unwritten, unmet):
        raise NotImportedError("a denial of everything grants nothing: there is nothing to import")
    writes = given.pop("write", [])
    for kind, places, access in (
        ("write", writes, "read-write"),
        ("read", given.pop("read", []), "read"),
    ):
        for path in _named(draft, kind, places):
            if access == "read" and writes is not None and path in writes:
                continue
            denied = [*(unread or []), *(unwritten or [])]
            _mount(draft, path, access, f"--allow-{kind}={path}", denied)
    for place in _named(draft, "net", given.pop("net", [])):
        _host(draft, place, f"--allow-net={place}", unmet or [])
    for kind, values in given.items():
        if values != []:
            draft.leave_out(f"--allow-{kind}", "it has no counterpart")


def _named(draft: _Draft, kind: str, values: list[str] | None) -> list[str]:
    if values is None:
        draft.leave_out(f"--allow-{kind}", "everything cannot be granted: name what is meant")
        return []
    return values


def _deno_flags(text: str) -> Iterator[tuple[str, list[str] | None]]:
    """
    What the flags of a command line say: the names, or None where all is meant.
    """
    for word in text.split():
        if found := re.fullmatch(r"--(allow|deny)-([a-z]+)(?:=(.*))?", word):
            kind = found[2] if found[1] == "allow" else f"deny-{found[2]}"
            yield kind, None if found[3] is None else found[3].split(",")
        elif word in {"-A", "--allow-all"}:
            yield "all", None


def _deno_json(text: str) -> Iterator[tuple[str, list[str] | None]]:
    permissions = _mapping(_json(text).get("permissions", {}), "permissions")
    for kind, value in _mapping(permissions.get("default", {}), "permissions.default").items():
        allowed = value.get("allow", False) if isinstance(value, dict) else value
        if isinstance(value, dict) and value.get("deny"):
            yield f"deny-{kind}", _texts(value["deny"], f"permissions.default.{kind}.deny")
        if allowed is True:
            yield kind, None
        elif allowed is not False:
            yield kind, _texts(allowed, f"permissions.default.{kind}")


# Docker's seccomp profiles

_FORKS = frozenset({"clone", "clone3", "fork", "vfork"})
_CONNECTS = frozenset({"socket", "connect"})
_STARTS = frozenset({"execve", "execveat"})


def _docker(text: str, draft: _Draft) -> None:
    profile = _json(text)
    names = _allowed_calls(profile)
    draft.cage = "cage: process\nimage: native-core\n"
    if names is None:
        raise NotImportedError("its defaultAction allows every call: there is nothing to import")
    if names & _FORKS:
        draft.cage += "process: {fork: true} # " + ", ".join(sorted(names & _FORKS)) + "\n"
    if names & _STARTS:
        draft.leave_out("execve", "name the programs in `process.programs`")
    if names & _CONNECTS:
        draft.leave_out("socket, connect", "name the hosts in `network`")
    draft.leave_out(
        f"{len(names)} calls", "which calls a box may make follows from what its policy grants"
    )


def _allowed_calls(profile: dict[str, object]) -> frozenset[str] | None:
    if profile.get("defaultAction") == "SCMP_ACT_ALLOW":
        return None
    rules = profile.get("syscalls", [])
    if "defaultAction" not in profile or not isinstance(rules, list):
        raise NotImportedError("this is no seccomp profile: defaultAction or syscalls is missing")
    allowed: set[str] = set()
    for rule in rules:
        one = _mapping(rule, "an entry of syscalls")
        # A condition allows less than the call, and what it needs besides is not here.
        plain = not any(one.get(key) for key in ("args", "includes", "excludes"))
        if one.get("action") == "SCMP_ACT_ALLOW" and plain:
            allowed |= set(_texts(one.get("names", []), "names"))
    return frozenset(allowed)


_READERS: dict[Origin, Callable[[str, _Draft], None]] = {
    Origin.SRT: _srt,
    Origin.DENO: _deno,
    Origin.DOCKER_SECCOMP: _docker,
}
