# A compressed tar archive keeps names, modes and contents.
import io
import tarfile
from pathlib import Path

Path("d/sub").mkdir(parents=True)
Path("d/f.txt").write_text("hello")
Path("d/sub/g.txt").write_text("world" * 100)
with tarfile.open("t.tar.gz", "w:gz") as t:
    t.add("d", arcname="top")
    info = tarfile.TarInfo("made.txt")
    info.size, info.mtime = 3, 1_700_000_000
    t.addfile(info, io.BytesIO(b"abc"))
with tarfile.open("t.tar.gz") as t:
    print(
        sorted(t.getnames()),
        t.extractfile("made.txt").read(),
        t.getmember("top/sub/g.txt").size,
        t.getmember("top").isdir(),
        t.getmember("made.txt").mtime,
    )
    t.extractall("out", filter="data")
print(Path("out/top/sub/g.txt").read_text()[:5], tarfile.is_tarfile("d/f.txt"))
