# os.path joins, splits, normalises and compares paths.
import os.path as p

print(
    p.join("a", "b", "/c", "d"),
    p.split("/x/y.txt"),
    p.splitext("a/b.tar.gz"),
    p.basename("/a/b/"),
    p.dirname("/a/b/"),
    p.normpath("a//b/../c/./d"),
    p.isabs("/x"),
)
print(
    p.commonpath(["/a/b/c", "/a/b/d"]),
    p.commonprefix(["abc", "abd"]),
    p.relpath("/a/b", "/a/c"),
    p.expanduser("x~"),
    p.splitext(".bashrc"),
    p.abspath("/a/../b"),
)
p.commonpath(["/a", "b"])
