# Run-length encoding and decoding with groupby and a pattern.
import itertools
import re


def pack(s):
    return "".join(f"{n}{c}" if (n := len(list(g))) > 1 else c for c, g in itertools.groupby(s))


def unpack(s):
    return re.sub(r"(\d+)(\D)", lambda m: m[2] * int(m[1]), s)


packed = pack("aaabccddddde")
print(packed, unpack(packed), unpack(pack("xyz")) == "xyz", pack(""))
