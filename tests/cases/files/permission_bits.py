# The bits of permission are kept.
import os
import stat
from pathlib import Path

p = Path("f.sh")
p.write_text("#!")
p.chmod(0o640)
print(oct(p.stat().st_mode), stat.filemode(p.stat().st_mode))
os.mkdir("d", 0o700)
print(oct(os.stat("d").st_mode))
