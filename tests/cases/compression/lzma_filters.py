# Raw lzma with its own filters, in pieces.
import lzma

filters = [{"id": lzma.FILTER_DELTA, "dist": 4}, {"id": lzma.FILTER_LZMA2, "preset": 6}]
c = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
packed = c.compress(bytes(range(200)) * 50) + c.flush()
print(len(packed) < 1000, lzma.decompress(packed, lzma.FORMAT_RAW, filters=filters)[:4])
