# Paths walk their trees.
# Needs Python 3.12.
from pathlib import Path

Path("a/b").mkdir(parents=True)
Path("a/x.txt").touch()
Path("a/b/y.txt").touch()
for root, dirs, files in Path("a").walk():
    print(root, dirs, files)
print(
    Path("a/x.txt").relative_to("a/b", walk_up=True),
    sorted(map(str, Path(".").glob("A/*.TXT", case_sensitive=False))),
)
# Writes:
# a ['b'] ['x.txt']
# a/b [] ['y.txt']
# ../x.txt ['a/x.txt']
