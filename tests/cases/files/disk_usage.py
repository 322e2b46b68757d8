# A disk has a size.
import shutil

usage = shutil.disk_usage(".")
print(usage.total >= usage.free > 0)
