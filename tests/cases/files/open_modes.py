# Files are created, appended, read by line, and refused when they exist.
with open("a.txt", "w") as f:
    print(f.write("one\ntwo\n"), f.name, f.mode, f.closed)
with open("a.txt", "a+") as f:
    f.write("three")
    f.seek(0)
    print(f.readline(), f.readlines(), f.tell())
with open("a.txt", "r+") as f:
    f.write("ONE")
print(open("a.txt").read().split(), [line.rstrip() for line in open("a.txt")], f.closed)
open("a.txt", "x")
