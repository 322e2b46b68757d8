# lzma compresses in the xz form and the old one.
import lzma

data = bytes(range(256)) * 200
for fmt in (lzma.FORMAT_XZ, lzma.FORMAT_ALONE):
    packed = lzma.compress(data, format=fmt)
    print(len(packed) < 1000, lzma.decompress(packed) == data, packed[:4])
with lzma.open("x.xz", "w") as f:
    f.write(b"hello")
print(lzma.open("x.xz").read())
lzma.decompress(b"not xz")
