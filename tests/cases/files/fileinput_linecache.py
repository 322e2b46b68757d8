# linecache and fileinput read lines by number and across files.
import fileinput
import linecache
from pathlib import Path

Path("a.txt").write_text("a1\na2\n")
Path("b.txt").write_text("b1\n")
print(repr(linecache.getline("a.txt", 2)), repr(linecache.getline("a.txt", 9)))
with fileinput.input(["a.txt", "b.txt"]) as lines:
    for line in lines:
        print(lines.filename(), lines.filelineno(), lines.lineno(), line.rstrip())
with fileinput.input("a.txt", inplace=True) as lines:
    for line in lines:
        print(line.rstrip().upper())
print(Path("a.txt").read_text())
