"""
Requirements locks: which packages an image may hold, each with its hashes.

The form is the part of pip's requirements files that `pip-compile --generate-hashes` and
`uv pip compile --generate-hashes` write: `name==version --hash=sha256:...`, and `# via` comments
that say who needs a package. Anything else is refused: an index address or a direct address
would fetch from where the lock's author says, not from where the user's configuration says.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from executor.images.errors import LockRefusedError
from executor.images.pins import HERE

# What every image has comes from the first, what `--with` can add from the second.
CORE_LOCK = HERE / "shipped" / "core.lock.txt"
SHIPPED_LOCK = HERE / "shipped" / "math.lock.txt"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.!+_]*)"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """
    One package of a lock: normalised name, exact version, allowed SHA-256, and who needs it.
    """

    name: str
    version: str
    hashes: frozenset[str]
    via: frozenset[str]

    def requirement(self) -> str:
        """
        The line that asks pip for exactly this package.
        """
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))
        return f"{self.name}=={self.version} {hashes}"


@dataclass(frozen=True, slots=True)
class Lock:
    """
    A lock file that was read: its name for messages, and its packages by name.
    """

    file: str
    packages: tuple[LockedPackage, ...]

    def select(self, names: Iterable[str]) -> tuple[LockedPackage, ...]:
        """
        The packages `names` and those that the lock says they need, sorted by name.

        Raises LockRefusedError for a name that the lock has not, with what it has.
        """
        chosen = {normalise(name) for name in names}
        for name in sorted(chosen):
            if name not in {package.name for package in self.packages}:
                raise LockRefusedError(_absent(name, self))
        size = -1
        while size != len(chosen):
            size = len(chosen)
            chosen |= {package.name for package in self.packages if package.via & chosen}
        return tuple(package for package in self.packages if package.name in chosen)


def normalise(name: str) -> str:
    """
    A project's name in the one spelling that is compared, as PEP 503 has it.

    Raises LockRefusedError for what is no name of a project.
    """
    if not _NAME.fullmatch(name):
        raise LockRefusedError(
            f"{name!r} is not the name of a package; give a plain name such as 'sympy'."
        )
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path = SHIPPED_LOCK) -> Lock:
    """
    Read a lock file. Raises LockRefusedError, pointing at the line that is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LockRefusedError(f"The lock {path} cannot be read: {error}.") from error
    return parse_lock(text, path.name)


def parse_lock(text: str, file: str) -> Lock:
    """
    Read the text of a lock; `file` is its name in messages. Raises LockRefusedError.
    """
    packages: dict[str, LockedPackage] = {}
    for number, line, comments in _statements(text):
        found = _REQUIREMENT.fullmatch(line)
        if found is None:
            raise LockRefusedError(
                f"{file}:{number}: {line!r} is not allowed in a lock. Each entry must be "
                "name==version --hash=sha256:..., without addresses, markers or options. "
                "Write one with: codecage image lock DECLARATION"
            )
        name = normalise(found["name"])
        if name in packages:
            raise LockRefusedError(f"{file}:{number}: {name} is in the lock already; keep one.")
        hashes = frozenset(re.findall(r"[0-9a-f]{64}", found["hashes"]))
        packages[name] = LockedPackage(name, found["version"], hashes, _via(comments))
    return Lock(file, tuple(packages[name] for name in sorted(packages)))


def lock_text(name: str, packages: Iterable[LockedPackage]) -> str:
    """
    A lock as `parse_lock` reads it, for the declaration called `name`.
    """
    lines = [
        f"# The wheels of the image {name}, each by its hash. Written by: codecage image lock",
    ]
    for package in sorted(packages, key=lambda one: one.name):
        lines.append(f"{package.name}=={package.version} \\")
        hashes = [f"    --hash=sha256:{digest}" for digest in sorted(package.hashes)]
        lines += [f"{line} \\" for line in hashes[:-1]] + hashes[-1:]
        if package.via:
            lines.append(f"    # via {', '.join(sorted(package.via))}")
    return "\n".join(lines) + "\n"


def _statements(text: str) -> list[tuple[int, str, list[str]]]:
    """
    Each requirement as (line number, text on one line, the comments below it).
    """
    found: list[tuple[int, str, list[str]]] = []
    pending = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line.startswith("#"):
            if found and not pending:
                found[-1][2].append(line.lstrip("# "))
            continue
        if not line and not pending:
            continue
        if not pending:
            found.append((number, "", []))
        pending = line if line.endswith("\\") else ""
        at, before, comments = found[-1]
        found[-1] = (at, f"{before} {line.removesuffix(chr(92)).strip()}".strip(), comments)
    return found


def _via(comments: Sequence[str]) -> frozenset[str]:
    # "# via sympy", "# via a, b", or "# via" with one name on each comment line below it; other
    # words, such as "-r requirements.in", name no package and so need nothing.
    text = ", ".join(comments)
    if not text.startswith("via"):
        return frozenset()
    words = (word.strip() for word in text.removeprefix("via").split(","))
    return frozenset(normalise(word) for word in words if _NAME.fullmatch(word))


def _absent(name: str, lock: Lock) -> str:
    there = ", ".join(f"{package.name} {package.version}" for package in lock.packages) or "nothing"
    return (
        f"The package {name!r} was asked for, and the lock {lock.file} has {there}. To use it, "
        "declare an image of your own with it, and lock and build that: "
        "codecage image lock FILE.yaml, codecage image build FILE.yaml"
    )
