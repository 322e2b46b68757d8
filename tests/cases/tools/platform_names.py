# platform names the implementation and the version.
import platform
import sys

print(
    platform.python_implementation(),
    platform.python_version() == sys.version.split()[0],
    len(platform.python_version_tuple()),
    isinstance(platform.system(), str),
    isinstance(platform.machine(), str),
)
print(
    platform.architecture() != (),
    isinstance(platform.platform(), str),
    isinstance(platform.node(), str),
)
