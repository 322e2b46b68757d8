# gzip files are written and read as text and bytes.
import gzip
import io

with gzip.open("t.txt.gz", "wt", encoding="utf-8") as f:
    f.write("line é\n" * 100)
with gzip.open("t.txt.gz", "rt", encoding="utf-8") as f:
    print(next(f), sum(1 for _ in f))
packed = gzip.compress(b"payload" * 10, mtime=0)
print(
    gzip.decompress(packed)[:7],
    packed[:4],
    open("t.txt.gz", "rb").read(2) == b"\x1f\x8b",
    gzip.GzipFile(fileobj=io.BytesIO(packed)).read(3),
)
gzip.decompress(b"plain text")
