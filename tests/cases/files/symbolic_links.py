# Symbolic links are made, read, followed and found dangling.
import os
from pathlib import Path

Path("real.txt").write_text("content")
os.symlink("real.txt", "link")
os.symlink("nowhere", "dangling")
print(
    os.readlink("link"),
    open("link").read(),
    os.path.islink("link"),
    os.path.exists("dangling"),
    os.path.lexists("dangling"),
    Path("link").resolve().name,
)
print(
    os.lstat("link").st_size,
    os.stat("link").st_size,
    sorted((e.name, e.is_symlink()) for e in os.scandir(".")),
)
Path("link").unlink()
print(Path("real.txt").exists())
os.symlink("loop", "loop")
open("loop")
