# shutil copies files and trees, moves and removes them.
import os
import shutil
from pathlib import Path

Path("src/sub").mkdir(parents=True)
Path("src/a.txt").write_text("a")
Path("src/sub/b.pyc").write_text("b")
shutil.copytree("src", "dst", ignore=shutil.ignore_patterns("*.pyc"))
print(
    sorted(str(p) for p in Path("dst").rglob("*")),
    shutil.copy("src/a.txt", "dst/sub"),
    shutil.copyfile("src/a.txt", "c.txt"),
    shutil.move("c.txt", "dst/moved.txt"),
)
shutil.copytree("src", "dst", dirs_exist_ok=True)
print(sorted(str(p) for p in Path("dst").rglob("*.*")), shutil.which("no-such-program"))
shutil.rmtree("dst")
print(os.listdir("."))
shutil.copyfile("src/a.txt", "src/a.txt")
