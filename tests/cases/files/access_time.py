# The times of access and of change are two.
import os

with open("f", "w") as f:
    f.write("x")
os.utime("f", (1_600_000_000, 1_700_000_000))
print(os.stat("f").st_mtime, os.stat("f").st_atime)
