"""
What is asked when something is imported: runs inside the cage, like the runtime that loads it.

`Absent` comes last and says why a module is not here; `After` comes first and acts on modules as
soon as they are imported, so that the runtime imports nothing early in order to change it.
"""

import importlib.machinery


class Absent:
    """The last finder: modules that others have and this guest cannot have."""

    JAVASCRIPT = (
        "there is no JavaScript here. This is Python in WebAssembly without a browser; use the "
        "standard library."
    )
    REASONS = {
        "js": JAVASCRIPT,
        "pyodide_js": JAVASCRIPT,
        "_pyodide_core": JAVASCRIPT,
        "IPython": "there is no IPython here. display() is a builtin: call it without an import.",
    }
    # What the host knows of other images: their names by what they make importable.
    IMAGE = ""
    ELSEWHERE = {}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        reason = cls.REASONS.get(name.partition(".")[0])
        if reason is None and name in cls.ELSEWHERE:
            images = " or ".join(f'"{image}"' for image in cls.ELSEWHERE[name])
            reason = (
                f"it is not in the image {cls.IMAGE!r} of this session; a session opened with "
                f"image={images} has it"
            )
        if reason is not None:
            raise ModuleNotFoundError(f"No module named {name!r}: {reason}", name=name)
        return None


class After:
    """The first finder: it finds nothing itself, and acts on modules once they are imported."""

    ACTS = {}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.ACTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = ThenAct(spec.loader, cls.ACTS[name])
        return spec


class ThenAct:
    """A loader that steps aside for the real one, and acts when that is done."""

    def __init__(self, loader, act):
        self._loader = loader
        self._act = act

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act(module)
