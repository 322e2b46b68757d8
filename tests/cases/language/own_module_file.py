# A module written to a file is imported, reloaded after a change, and listed.
import importlib
import pathlib
import sys

sys.path.insert(0, ".")
sys.dont_write_bytecode = True
package = pathlib.Path("toolbox")
package.mkdir()
(package / "__init__.py").write_text("from .sums import total\nVERSION = '1.0'\n")
(package / "sums.py").write_text("def total(xs):\n    return sum(xs)\n")
import toolbox

print(
    toolbox.total([1, 2, 3]),
    toolbox.VERSION,
    toolbox.sums.__name__,
    toolbox.__file__.endswith("toolbox/__init__.py"),
)
(package / "sums.py").write_text("def total(xs):\n    return 'longer than it was: %d' % sum(xs)\n")
importlib.reload(toolbox.sums)
print(toolbox.sums.total([1, 2, 3]), toolbox.total([1]))
