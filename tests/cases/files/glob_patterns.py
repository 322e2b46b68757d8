# Patterns find files: stars, classes, recursion, hidden names.
import fnmatch
import glob
import os

for name in (
    "a.txt",
    "b.csv",
    "c1.txt",
    ".hidden.txt",
    "sub/d.txt",
    "sub/deep/e.txt",
    "sub/f[1].txt",
):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").close()
for pattern in (
    "*.txt",
    "**/*.txt",
    "sub/*",
    "[a-b].*",
    "?1.txt",
    ".*",
    glob.escape("sub/f[1]") + ".txt",
    "none*",
):
    print(pattern, sorted(glob.glob(pattern, recursive=True)))
print(
    fnmatch.filter(["a.py", "b.PY", "c.txt"], "*.py"),
    fnmatch.fnmatchcase("x1", "x[!0]"),
    sorted(glob.glob("*.txt", root_dir="sub")),
)
