# Binary files seek, tell, truncate and read into buffers.
import os

with open("b.bin", "wb+") as f:
    f.write(bytes(range(20)))
    print(
        f.tell(), f.seek(-5, os.SEEK_END), f.read(2), f.seek(3), f.read1(2), f.seek(1, os.SEEK_CUR)
    )
    buffer = bytearray(4)
    print(f.readinto(buffer), buffer, f.truncate(10), f.seek(0, 2))
    f.seek(15)
    f.write(b"!")
print(open("b.bin", "rb").read()[8:], os.path.getsize("b.bin"))
open("b.bin", "rb").seek(-1)
