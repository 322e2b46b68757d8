# shutil makes and unpacks archives by their endings.
import shutil
from pathlib import Path

Path("src").mkdir()
for n in range(3):
    Path(f"src/{n}.txt").write_text(str(n) * 10)
for kind in ("zip", "gztar", "bztar"):
    name = shutil.make_archive(f"a_{kind}", kind, "src")
    shutil.unpack_archive(name, f"out_{kind}")
    print(Path(name).name, sorted(p.name for p in Path(f"out_{kind}").iterdir()))
shutil.unpack_archive("src/1.txt")
