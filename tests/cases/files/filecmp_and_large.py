# Files are compared, and a large one is copied in pieces.
import filecmp
import hashlib
import os

os.makedirs("l")
os.makedirs("r")
for side, text in (("l", "same"), ("r", "same")):
    open(f"{side}/a", "w").write(text)
    open(f"{side}/b", "w").write(text + side * (2 if side == "r" else 1))
    open(f"{side}/only_{side}", "w").close()
c = filecmp.dircmp("l", "r")
print(
    c.same_files, c.diff_files, c.left_only, c.right_only, filecmp.cmp("l/a", "r/a", shallow=False)
)
with open("big", "wb") as f:
    for n in range(64):
        f.write(bytes([n]) * 65536)
h = hashlib.md5()
with open("big", "rb") as f:
    while part := f.read(100_000):
        h.update(part)
print(os.path.getsize("big"), h.hexdigest())
