# Files are renamed over each other, directories only when empty.
import os

for name in "ab":
    with open(name, "w") as f:
        f.write(name)
os.replace("a", "b")
print(os.listdir("."), open("b").read())
os.makedirs("x/y")
os.rename("x", "z")
print(os.path.isdir("z/y"), os.path.exists("x"))
os.removedirs("z/y")
print(os.listdir("."))
os.makedirs("full/sub")
os.rmdir("full")
