# zlib compresses in one go, in pieces, and with checksums.
import zlib

data = b"abcabcabc" * 500
packed = zlib.compress(data, 9)
print(len(packed) < 60, zlib.decompress(packed) == data, zlib.crc32(data), zlib.adler32(data))
c, d = zlib.compressobj(6, wbits=-15), zlib.decompressobj(wbits=-15)
raw = b"".join([c.compress(data[:1000]), c.compress(data[1000:]), c.flush()])
out = d.decompress(raw, 100)
while d.unconsumed_tail:
    out += d.decompress(d.unconsumed_tail, 1000)
print(out + d.flush() == data, d.eof)
zlib.decompress(b"not compressed at all")
