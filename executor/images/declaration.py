"""
Declarations: what an image is made of, as a person writes it, in a small YAML file.

The YAML is read as strictly as a policy is, by the same reader, and every problem points at
file:line:column. A declaration names packages; which exact wheels they are stands in the lock
beside it (`NAME.lock.txt`), and only the lock decides what is installed.
"""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from executor.images.errors import DeclarationRefusedError
from executor.images.guests import DEFAULT, GUESTS, GuestKind, guest_kind
from executor.images.identity import PLAIN_NAME, image_name
from executor.images.lock import normalise
from executor.images.pins import HERE
from policy.cages import NATIVE
from policy.document import Document, read_document
from policy.errors import Problem, shown
from policy.schema import REFUSED, refuse, said

SHIPPED: Final = HERE / "shipped"
_SUFFIX: Final = ".yaml"
_LARGEST: Final = 256 * 1024
_PACKAGE = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    r"(?:\[[A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*\])?(?:==[0-9][A-Za-z0-9.!+_]*)?"
)
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


class SourceKind(Enum):
    """
    Where wheels may come from; the value is the word in a declaration.
    """

    PYPI = "pypi"
    DIRECTORY = "directory"
    PYODIDE = "pyodide"


_WITH_PATH: Final = frozenset({SourceKind.DIRECTORY.value, SourceKind.PYODIDE.value})


@dataclass(frozen=True, slots=True)
class Source:
    """
    One entry of `sources`.

    `path` is the directory of wheels, or a `pyodide-lock.json` of the user's own; None for the
    one that the guest's npm package carries, and for PyPI.
    """

    kind: SourceKind
    path: Path | None = None


PYPI: Final = Source(SourceKind.PYPI)


@dataclass(frozen=True, slots=True)
class Declaration:
    """
    A declaration that was read.

    `packages` are names with at most extras and an exact version; `sources` are tried in their
    order; `warm` are modules that the zygote imports before it forks. `lock` is the file beside.
    """

    name: str
    description: str
    guest: GuestKind
    packages: tuple[str, ...]
    sources: tuple[Source, ...]
    warm: tuple[str, ...]
    lock: Path


def load(wanted: str) -> Declaration:
    """
    The declaration of a shipped image by its name, or of a file by its path.

    What ends in .yaml or holds a slash is a path. Raises DeclarationRefusedError with every
    problem found.
    """
    names = shipped_names()
    if wanted.endswith(_SUFFIX) or "/" in wanted:
        declaration = _load_file(Path(wanted))
        if declaration.name in names and Path(wanted).resolve().parent != SHIPPED.resolve():
            raise DeclarationRefusedError(
                f"{wanted}: the name {declaration.name!r} is that of a shipped image, which is the "
                "same on every machine. Give yours another one."
            )
        return declaration
    if wanted not in names:
        raise DeclarationRefusedError(
            f"There is no shipped image {wanted!r}; there is {', '.join(names)}. "
            f"For one of your own give its file: {shown(wanted, 60)}{_SUFFIX}"
        )
    return _load_file(SHIPPED / f"{wanted}{_SUFFIX}")


def shipped_names() -> tuple[str, ...]:
    """
    The names of the images whose declarations come with the package, sorted.
    """
    return tuple(sorted(path.stem for path in SHIPPED.glob(f"*{_SUFFIX}")))


def _load_file(path: Path) -> Declaration:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationRefusedError(
            f"The declaration {path} cannot be read: {error}. Give a UTF-8 file that exists."
        ) from error
    return parse(text, path)


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def _version(value: object) -> int:
    if value != 1 or isinstance(value, bool):
        refuse(f"cannot be {said(value)}", "write version: 1")
    return 1


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", value):
        refuse(f"cannot be {said(value)}", "1 to 64 of a-z, 0-9, '.', '_' and '-'")
    if value.startswith(NATIVE):
        refuse(
            f"cannot be {said(value)}",
            f"names that begin with {NATIVE} are those of images of the process cage",
        )
    return value


def _description(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        refuse(f"cannot be {said(value)}", "one line of 1 to 200 characters")
    return value


def _guest(value: object) -> GuestKind:
    names = [kind.name for kind in GUESTS]
    if not isinstance(value, str) or value not in names:
        refuse(f"cannot be {said(value)}", f"write {' or '.join(names)}")
    return guest_kind(value)


def _package(value: object) -> str:
    try:
        if isinstance(value, str) and _PACKAGE.fullmatch(value):
            Requirement(value)
            return value
    except InvalidRequirement:
        pass
    return refuse(f"cannot be {said(value)}", "write name, name[extra] or name==1.2.3")


def _module(value: object) -> str:
    if not isinstance(value, str) or len(value) > 200 or not _MODULE.fullmatch(value):
        refuse(f"cannot be {said(value)}", "write the name of a module, such as matplotlib.pyplot")
    return value


def _source(value: object) -> Source:
    if value == SourceKind.PYPI.value:
        return PYPI
    if value == SourceKind.PYODIDE.value:
        return Source(SourceKind.PYODIDE)
    if isinstance(value, dict) and len(value) == 1:
        ((word, path),) = value.items()
        if word in _WITH_PATH and isinstance(path, str) and path and "\0" not in path:
            return Source(SourceKind(word), Path(path))
    return refuse(
        f"cannot be {said(value)}",
        "write pypi, pyodide, {directory: PATH} or {pyodide: PATH-OF-A-pyodide-lock.json}",
    )


class _DeclarationSection(_Section):
    version: Annotated[int, PlainValidator(_version)]
    name: Annotated[str, PlainValidator(_name)]
    description: Annotated[str, PlainValidator(_description)]
    guest: Annotated[GuestKind, PlainValidator(_guest)] = DEFAULT
    packages: list[Annotated[str, PlainValidator(_package)]] = []
    sources: list[Annotated[Source, PlainValidator(_source)]] = [PYPI]
    warm: list[Annotated[str, PlainValidator(_module)]] = []


def parse(text: str, path: Path) -> Declaration:
    """
    The declaration that `text` says; nothing is read. `path` is its file, by which relative
    paths and the lock are found. Raises DeclarationRefusedError.
    """
    document = read_document(text, path.name)
    problems = list(document.problems)
    model = None
    if not (problems and document.data is None):
        model = _validated(document, problems)
    if model is not None:
        problems += _repeated(document, model)
    if model is None or problems:
        ordered = sorted(problems, key=lambda one: (one.line, one.column))
        raise DeclarationRefusedError("\n".join(map(str, ordered)))
    return Declaration(
        name=model.name,
        description=model.description,
        guest=model.guest,
        packages=tuple(model.packages),
        sources=tuple(_placed(source, path) for source in model.sources),
        warm=tuple(model.warm),
        lock=path.with_suffix(".lock.txt"),
    )


def _placed(source: Source, path: Path) -> Source:
    return source if source.path is None else Source(source.kind, path.parent / source.path)


def _validated(document: Document, problems: list[Problem]) -> _DeclarationSection | None:
    try:
        return _DeclarationSection.model_validate(document.data)
    except ValidationError as error:
        problems += [
            _described(document, detail)
            for detail in error.errors(include_url=False)
            if not document.is_broken(detail["loc"])
        ]
        return None


def _described(document: Document, detail: ErrorDetails) -> Problem:
    path, kind = detail["loc"], detail["type"]
    keys = f"the keys are {', '.join(_DeclarationSection.model_fields)}"
    label = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    label = shown(label.removeprefix("."), 60)
    place = document.where(path)
    if kind == "extra_forbidden":
        return document.problem(document.keys.get(path, place), f"unknown key `{label}`", keys)
    if kind == "missing":
        return document.problem(document.where(()), f"the key `{label}` is missing", keys)
    if kind == REFUSED:
        context: dict[str, Any] = detail["ctx"]
        return document.problem(place, f"{label}: {context['message']}", context["hint"])
    if kind == "list_type":
        return document.problem(place, f"{label}: must be a list", "write [first, second]")
    return document.problem(place, "a declaration is a mapping", keys)


def _repeated(document: Document, model: _DeclarationSection) -> list[Problem]:
    """
    Entries that say one thing twice, and what a guest cannot have.
    """
    names = [normalise(Requirement(package).name) for package in model.packages]
    found = [
        document.problem(
            document.where(("packages", at)), f"packages[{at}]: {name} is there twice", "keep one"
        )
        for at, name in enumerate(names)
        if name in names[:at]
    ]
    if not model.sources:
        place = document.where(("sources",))
        found.append(document.problem(place, "sources: is empty", "write sources: [pypi]"))
    return found


def adding(packages: tuple[str, ...], name: str | None, lock: Path) -> Declaration:
    """
    The declaration of `core` with `packages` added from `lock`, called `name` or by what is added.

    Raises LockRefusedError for a name that cannot be one, or is core's own.
    """
    names = tuple(normalise(package) for package in packages)
    core = load(PLAIN_NAME)
    return Declaration(
        name=image_name(name, names),
        description=core.description,
        guest=core.guest,
        packages=names,
        sources=core.sources,
        warm=core.warm,
        lock=lock,
    )
