# Times are set and read back, and a file is cut.
import os
from pathlib import Path

p = Path("f.sh")
p.write_text("#!")
os.utime(p, (1_600_000_000, 1_700_000_000))
s = p.stat()
print(s.st_mtime, s.st_mtime_ns, s.st_nlink, s.st_size)
os.truncate(p, 10)
print(
    p.read_bytes(), os.path.getmtime(p) > 1.7e9, os.access(p, os.R_OK), os.access("none", os.F_OK)
)
