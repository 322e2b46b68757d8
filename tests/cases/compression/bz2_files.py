# bz2 compresses whole and in streams.
import bz2

data = b"".join(b"%d," % n for n in range(3000))
packed = bz2.compress(data)
print(len(packed) < len(data) / 2, bz2.decompress(packed) == data, packed[:3])
with bz2.open("n.bz2", "wt") as f:
    f.write("a\nb\n")
print(bz2.open("n.bz2", "rt").readlines(), bz2.BZ2Decompressor().decompress(packed)[:4])
bz2.decompress(b"BZh91AY&SYbroken")
