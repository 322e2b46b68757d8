"""
Modules of packages that look for something that is not here, and what stands in their place.

Runs in the guest. A row is the module's name, why, and the whole source of its replacement; the
package's own file is not imported.
"""

import importlib.machinery
import sys

REPLACED = {
    "urllib3.contrib.emscripten": (
        "urllib3 sends requests through JavaScript where the platform is Emscripten; here it "
        "uses sockets, as it does everywhere else",
        "def inject_into_urllib3():\n    pass\n",
    ),
}


class Replacing:
    """A finder and loader of the rows above; `_source` is a row's own."""

    def __init__(self, source):
        self._source = source

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in REPLACED:
            return None
        return importlib.machinery.ModuleSpec(name, cls(REPLACED[name][1]), origin="<codecage>")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self._source, module.__dict__)


sys.meta_path.insert(0, Replacing)
