# Imports by name, alias, star-free forms, importlib, and a missing module.
import collections.abc as abc
import importlib
import os.path
import sys
from math import floor as down, pi

print(
    down(pi), abc.Mapping.__name__, os.path.basename("/a/b.txt"), "json" in sys.modules or "not yet"
)
json = importlib.import_module("json")
print(json.dumps([1]), json.__name__, __name__)
try:
    import a_module_that_is_not_there
except ModuleNotFoundError as error:
    print(error, error.name)
try:
    from json import no_such_name
except ImportError as error:
    print(error.name, str(error).partition(" (")[0])
