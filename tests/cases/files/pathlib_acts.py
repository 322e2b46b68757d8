# Paths make, write, read, move, stat and remove.
from pathlib import Path

d = Path("proj/src")
d.mkdir(parents=True, exist_ok=True)
f = d / "m.py"
print(
    f.write_text("x = 1\n"),
    f.read_text(),
    f.exists(),
    f.is_file(),
    d.is_dir(),
    f.stat().st_size,
    (d / "raw").write_bytes(b"\x00\x01"),
    (d / "raw").read_bytes(),
)
g = f.rename(d / "n.py")
print(
    g,
    f.exists(),
    sorted(p.name for p in d.iterdir()),
    Path("proj").resolve().name,
    (d / ".." / "x").resolve().parts[-2:],
)
g.replace(d / "o.py")
(d / "e.txt").touch()
print(
    sorted(p.name for p in d.glob("*")),
    [p.as_posix() for p in Path("proj").rglob("*.py")],
    (d / "e.txt").stat().st_size,
    Path("none").exists(),
)
(d / "e.txt").unlink()
(d / "e.txt").unlink(missing_ok=True)
d.rmdir()
