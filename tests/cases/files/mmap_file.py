# A file is mapped and searched.
import mmap

with open("m.bin", "wb") as f:
    f.write(b"needle in a haystack" + b"." * 100)
with open("m.bin", "r+b") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
    print(len(m), m.find(b"hay"), m[:6], m.read(3), m.tell(), m.rfind(b"n"))
