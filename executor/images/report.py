"""
How images and the progress of a build are shown; everything here only writes text.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from executor.images.locking import Locked
from executor.images.manifest import Image
from executor.images.progress import Progress, Step

_WIDTH = 72


@dataclass(frozen=True, slots=True)
class Listed:
    """
    An image of either cage as it is listed: its directory (empty where it has none), when it was
    built (UTC in ISO 8601, empty for one that needs no building), bytes and number of its files,
    its guest, how many native modules were compiled for it, releases and packages by name.
    """

    name: str
    key: str
    path: str
    created: str
    size: int
    files: int
    guest: str
    modules: int
    versions: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str], ...]


def listed(image: Image) -> Listed:
    """
    An image of the WebAssembly cage, as it is listed; the files are summed up.
    """
    manifest = image.manifest
    return Listed(
        name=image.name,
        key=image.key,
        path=str(image.path),
        created=manifest.created,
        size=manifest.size,
        files=len(manifest.files),
        guest=manifest.guest,
        modules=len(manifest.modules),
        versions=manifest.versions,
        packages=tuple((package.name, package.version) for package in manifest.packages),
    )


def as_data(image: Listed) -> dict[str, Any]:
    """
    An image as JSON data, for `--json`.
    """
    return asdict(image) | {"versions": dict(image.versions), "packages": dict(image.packages)}


def as_json(images: tuple[Listed, ...]) -> str:
    """
    Images as a JSON array.
    """
    return json.dumps([as_data(image) for image in images], indent=2, sort_keys=True)


def table(images: tuple[Listed, ...]) -> str:
    """
    Images as lines of a table, with a heading.
    """
    rows = [("NAME", "KEY", "SIZE", "PYTHON", "WASMTIME", "CREATED", "PACKAGES")]
    rows += [_row(image) for image in images]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(padded)


def lock_json(made: Locked) -> str:
    """
    A lock as JSON: packages with versions, the modules that they bring, what was not fetched.
    """
    data = {
        "name": made.name,
        "packages": {package.name: package.version for package in made.packages},
        "modules": list(made.modules),
        "unchecked": list(made.unchecked),
    }
    return json.dumps(data, indent=2, sort_keys=True)


def lock_table(made: Locked) -> str:
    """
    A lock for a person: one package a line, with what needs it.
    """
    rows = [
        f"{one.name}=={one.version}" + (f"  (via {', '.join(sorted(one.via))})" if one.via else "")
        for one in made.packages
    ]
    return "\n".join(rows)


def _row(image: Listed) -> tuple[str, str, str, str, str, str, str]:
    versions = dict(image.versions)
    return (
        image.name,
        image.key[:12],
        size_text(image.size),
        versions.get("python", "?"),
        versions.get("wasmtime", "-"),
        image.created[:19] + "Z" if image.created else "-",
        " ".join(f"{name}=={version}" for name, version in image.packages) or "-",
    )


def size_text(size: int) -> str:
    """
    A number of bytes for a person: "26.5 MB", in powers of 1000.
    """
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


@dataclass(slots=True)
class ProgressLine:
    """
    Shows a build on `stream`: one line that changes on a terminal, else a line for each step.

    Call it with each Progress, and `close` it at the end.
    """

    stream: TextIO
    last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """
        Show `progress`.
        """
        if self.stream.isatty():
            self._update(progress)
        elif self.last is None or self.last.step is not progress.step:
            self._line(f"{_place(progress.step)} {progress.step.value} ...")
        self.last = progress

    def close(self) -> None:
        """
        Leave the cursor below what was shown.
        """
        if self.last is not None and self.stream.isatty():
            self._line("")

    def _update(self, progress: Progress) -> None:
        # A finished step keeps its line, with its final figures, and the next takes a new one.
        if self.last is not None and self.last.step is not progress.step:
            self._line("")
        self.stream.write("\r" + describe(progress).ljust(_WIDTH))
        self.stream.flush()

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


def describe(progress: Progress) -> str:
    """
    One line: "[4/5] compile to machine code  3.2 s  9.6 MB".
    """
    parts = [f"{_place(progress.step)} {progress.step.value}", f"{progress.seconds:.1f} s"]
    if progress.size:
        parts.append(size_text(progress.size))
    return "  ".join(parts)


def _place(step: Step) -> str:
    work = [known for known in Step if known is not Step.WAIT]
    return "[-]" if step is Step.WAIT else f"[{work.index(step) + 1}/{len(work)}]"
