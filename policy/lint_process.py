"""
What is wrong with what a policy says of the process cage although each of its values is right. As
in `lint.py`, each finding is an error.
"""

from collections.abc import Iterator, Sequence

from policy.cages import cage_of
from policy.document import Path
from policy.errors import shown
from policy.lint import Finding, Placed, Resolver
from policy.paths import is_within
from policy.programs import dangerous_program
from policy.types import Access, CageKind
from policy.values import said


def cage_findings(cage: CageKind, images: Sequence[tuple[Path, str]]) -> Iterator[Finding]:
    """
    Images, with their places, that the policy's cage has not.
    """
    if cage is CageKind.ANY:
        return
    for path, image in images:
        if (kind := cage_of(image)) is not cage:
            yield Finding(
                path,
                f"the image {shown(image, 64)} runs in the cage `{kind.value}`, and this policy's "
                f"is `{cage.value}`",
                f"write cage: {kind.value}, cage: any, or name {_OF[cage]}",
            )


_OF = {
    CageKind.WASM: "an image whose name does not begin with native-, such as core",
    CageKind.PROCESS: "an image whose name begins with native-, such as native-core",
}


def meaningless_findings(cage: CageKind, keys: Sequence[str]) -> Iterator[Finding]:
    """
    Keys of the file that are about the process cage, where the policy has no session of it.
    """
    for key in keys if cage is CageKind.WASM else ():
        yield Finding(
            (key,),
            f"{key}: has no meaning with `cage: wasm`, where nothing is a process of its own",
            f"write cage: process or cage: any, or remove `{key}`",
            on_key=True,
        )


def repeated_item_findings(items: Sequence[str]) -> Iterator[Finding]:
    """
    Items of `isolation.require` that stand there twice.
    """
    for index, item in enumerate(items):
        if (first := items.index(item)) < index:
            message = f"{said(item)} stands here twice; the first is [{first}]"
            yield Finding(("isolation", "require", index), message, "remove one of them")


def program_findings(
    programs: Sequence[str],
    grants: Sequence[Placed],
    protected: tuple[str, ...],
    resolve: Resolver,
) -> Iterator[Finding]:
    """
    What is wrong with `process.programs`, each by itself, together, and beside the mounts.
    """
    for index, program in enumerate(programs):
        path: Path = ("process", "programs", index)
        for name in dict.fromkeys((program, resolve(program))):
            if problem := dangerous_program(name, protected):
                yield Finding(path, f"dangerous grant: {shown(problem[0])}", problem[1])
                break
        yield from _covered_findings(path, index, programs)
        for placed in grants:
            yield from _mount_findings(path, program, placed)
            yield from _source_findings(path, resolve(program), placed, resolve)


def _covered_findings(path: Path, index: int, programs: Sequence[str]) -> Iterator[Finding]:
    """
    A program below one that is granted too, or the same: which of the two was meant?
    """
    program = programs[index]
    for number, other in enumerate(programs):
        if number < index if other == program else number != index and is_within(program, other):
            message = f"{said(program)} is granted already by process.programs[{number}]"
            yield Finding(path, message, "remove one of them")
            return


def _mount_findings(path: Path, program: str, placed: Placed) -> Iterator[Finding]:
    """
    A program is seen at its own path, where nothing else can be.
    """
    mount = placed.grant.mount
    if is_within(program, mount) or is_within(mount, program):
        message = f"{shown(program)} and the mount {shown(mount)} are at one place of the guest"
        yield Finding(path, message, "mount the files elsewhere, or remove the program")


def _source_findings(
    path: Path, program: str, placed: Placed, resolve: Resolver
) -> Iterator[Finding]:
    """
    What a session may write, it may not run: it would have written the program.
    """
    grant = placed.grant
    if grant.source is None or (grant.access is Access.READ and not _hides(placed)):
        return
    source = resolve(grant.source)
    if is_within(program, source) or is_within(source, program):
        yield Finding(
            path,
            _overlap(program, source, placed),
            "keep programs apart from what sessions write, and from what is hidden",
        )


def _hides(placed: Placed) -> bool:
    return placed.denied or bool(placed.grant.deny)


def _overlap(program: str, source: str, placed: Placed) -> str:
    about = "is written" if placed.grant.access.writes else "has hidden names"
    rule = placed.grant.rule.name
    return f"{shown(program)} overlaps {shown(source)}, which {about} under {rule}"
