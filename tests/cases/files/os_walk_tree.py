# A tree is walked from the top and the bottom, with sizes.
import os

for n, path in enumerate(["t/a/x.txt", "t/b/y.txt", "t/b/c/z.txt", "t/top.txt"]):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write("x" * (n + 1) * 10)
for root, dirs, files in os.walk("t"):
    dirs.sort()
    print(root, dirs, sorted(files))
print(
    [r for r, _, _ in sorted(os.walk("t", topdown=False))],
    sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk("t") for f in fs),
)
print(sorted((e.name, e.is_dir(), e.is_file() and e.stat().st_size) for e in os.scandir("t")))
