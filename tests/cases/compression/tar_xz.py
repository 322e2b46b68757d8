# A tar archive compressed as xz.
import tarfile

with open("f.txt", "w") as f:
    f.write("hello")
with tarfile.open("t.tar.xz", "w:xz") as t:
    t.add("f.txt")
print(tarfile.open("t.tar.xz").getnames())
