# Paths have parts, suffixes, parents and relations.
from pathlib import Path, PurePosixPath, PureWindowsPath

p = PurePosixPath("/data/in/report.tar.gz")
print(
    p.name,
    p.stem,
    p.suffix,
    p.suffixes,
    p.parent,
    p.parts,
    p.anchor,
    p.with_suffix(".zip"),
    p.with_name("x"),
    p.with_stem("y"),
)
print(
    p.relative_to("/data"),
    p.is_relative_to("/tmp"),
    p / ".." / "b",
    PurePosixPath("a//b/./c"),
    list(p.parents)[1],
    p.match("*.gz"),
    p.as_uri(),
)
print(
    PureWindowsPath("C:\\a\\b.txt").as_posix(),
    PureWindowsPath("c:/A") == PureWindowsPath("C:/a"),
    Path("a") / "/b",
    "x" / Path("y"),
    Path(),
    sorted([Path("b"), Path("a/c")]),
)
p.relative_to("/tmp")
