"""
Modules of packages that look for something that is not here, and what stands in their place.

Runs in the guest. A row is the module's name, why, and what is run in its place, as code or as
source; the module's own file is not imported. `SSL`, given by the host, is the code of `tls.py`
and its two parts.
"""

import importlib.machinery
import sys

REPLACED = {
    "urllib3.contrib.emscripten": (
        "urllib3 sends requests through JavaScript where the platform is Emscripten; here it "
        "uses sockets, as it does everywhere else",
        ("def inject_into_urllib3():\n    pass\n",),
    ),
    "ssl": (
        "there is no OpenSSL: TLS is spoken by the network broker, and its connections are plain "
        "in the guest",
        SSL,
    ),
}


class Replacing:
    """A finder and loader of the rows above; `_parts` are a row's own."""

    def __init__(self, parts):
        self._parts = parts

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in REPLACED:
            return None
        return importlib.machinery.ModuleSpec(name, cls(REPLACED[name][1]), origin="<codecage>")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        for part in self._parts:
            exec(part, module.__dict__)


sys.meta_path.insert(0, Replacing)
