# A zip archive is written, listed, read, and checked.
import io
import zipfile
from pathlib import Path

Path("a.txt").write_text("alpha " * 50)
with zipfile.ZipFile("z.zip", "w", zipfile.ZIP_DEFLATED) as z:
    z.write("a.txt", "docs/a.txt")
    z.writestr("b.csv", "x,y\n1,2\n")
with zipfile.ZipFile("z.zip", "a") as z:
    z.writestr(zipfile.ZipInfo("c.bin", (2024, 1, 2, 3, 4, 6)), b"\x00" * 10)
with zipfile.ZipFile("z.zip") as z:
    print(
        z.namelist(),
        [i.file_size for i in z.infolist()],
        z.read("b.csv"),
        z.testzip(),
        z.getinfo("c.bin").date_time,
        z.getinfo("docs/a.txt").compress_size < 60,
    )
    z.extractall("out")
    print(
        io.TextIOWrapper(z.open("b.csv")).readline(),
        (zipfile.Path(z) / "docs").joinpath("a.txt").read_text()[:5],
    )
print(sorted(str(p) for p in Path("out").rglob("*")), zipfile.is_zipfile("a.txt"))
zipfile.ZipFile("a.txt")
