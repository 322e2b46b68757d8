"""
From a declaration's packages to exact wheels: everything that is needed, and nothing else.

pip's resolver cannot be used: it decides markers such as `sys_platform == "emscripten"` for the
Python that it runs on. Here each round finds the best release of every project for all versions
that are accepted, then computes from the roots what these releases need in the guest; it ends
when nothing changes. Nothing is tried back: where two needs exclude each other, or a release
lacks a wheel for the guest, the error says so and a person pins a version.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from executor.images.errors import SourceRefusedError
from executor.images.guests import GuestKind
from executor.images.lock import LockedPackage, normalise
from executor.images.process import Tick
from executor.images.releases import Index, Release, Wanted
from executor.images.tags import holds

_ROUNDS = 30
_MOST = 300


@dataclass(slots=True)
class _Need:
    """
    What is known about one project so far: who needs it, which versions, with which extras.
    """

    versions: SpecifierSet = field(default_factory=SpecifierSet)
    extras: set[str] = field(default_factory=set)
    via: set[str] = field(default_factory=set)


def resolve(
    kind: GuestKind, packages: Sequence[str], indexes: Sequence[Index], tick: Tick
) -> tuple[LockedPackage, ...]:
    """
    The wheels that `packages` (PEP 508 texts) need in the guest, sorted by name.

    Each comes from the first index that has a fitting one. Raises SourceRefusedError, naming
    who needs what, where none has, and ToolFailedError where an index cannot be asked.
    """
    search = _Search(kind, indexes, tick)
    roots = [Requirement(package) for package in packages]
    needs = search.needs(roots, {})
    for _ in range(_ROUNDS):
        releases = {name: search.release(name, need) for name, need in needs.items()}
        settled, needs = needs, search.needs(roots, releases)
        if needs == settled:
            return tuple(_locked(releases[name], needs[name]) for name in sorted(needs))
        if len(needs) > _MOST:
            raise SourceRefusedError(f"More than {_MOST} packages are needed; declare fewer.")
    raise SourceRefusedError(
        f"The versions do not settle after {_ROUNDS} rounds: {', '.join(sorted(needs))}. "
        "Pin some of them in the declaration: name==version."
    )


def _locked(release: Release, need: _Need) -> LockedPackage:
    hashes = frozenset({release.sha256})
    return LockedPackage(release.name, release.version, hashes, frozenset(need.via))


class _Search:
    def __init__(self, kind: GuestKind, indexes: Sequence[Index], tick: Tick) -> None:
        self._kind = kind
        self._indexes = indexes
        self._tick = tick
        self._known: dict[Wanted, Release] = {}

    def release(self, name: str, need: _Need) -> Release:
        wanted = Wanted(name, need.versions)
        if wanted not in self._known:
            self._known[wanted] = self._found(wanted, need)
        return self._known[wanted]

    def _found(self, wanted: Wanted, need: _Need) -> Release:
        for index in self._indexes:
            found = index.find(wanted, self._tick)
            if found is not None:
                return found
        by = f" (needed by {', '.join(sorted(need.via))})" if need.via else ""
        raise SourceRefusedError(
            f"No source has a wheel of {wanted.name} {wanted.versions or 'of any version'}{by} for "
            f"{self._kind.name}. Add a source that has one, pin another version of what needs it, "
            "or declare without it."
        )

    def needs(self, roots: list[Requirement], releases: dict[str, Release]) -> dict[str, _Need]:
        """
        Every project that is reached from the roots through the releases known so far.
        """
        found: dict[str, _Need] = {}
        pending = [(root, "", "") for root in roots]
        seen: set[tuple[str, str]] = set()
        while pending:
            requirement, via, extra = pending.pop()
            if not self._applies(requirement, extra):
                continue
            name = normalise(requirement.name)
            need = found.setdefault(name, _Need())
            need.versions &= requirement.specifier
            need.via |= {via} - {"", name}
            for asked in ("", *sorted(requirement.extras)):
                if (name, asked) not in seen and name in releases:
                    seen.add((name, asked))
                    pending += [(one, name, asked) for one in _requirements(releases[name])]
            need.extras |= requirement.extras
        return found

    def _applies(self, requirement: Requirement, extra: str) -> bool:
        if requirement.marker is None:
            return True
        return holds(self._kind, requirement.marker, (extra,) if extra else ())


def _requirements(release: Release) -> list[Requirement]:
    try:
        return [Requirement(text) for text in release.requires]
    except InvalidRequirement as error:
        raise SourceRefusedError(
            f"{release.name} {release.version} has a requirement that cannot be read ({error}). "
            "Pin another version of it."
        ) from error
