"""
The world of a native guest before there is a session: environment, import path, settled memory.

A zygote begins as one of our own programs, with our packages on its path and the server's ways in
its environment. The guest is to find neither: it gets the interpreter's standard library, the
image's packages and a constant environment, and modules that came from elsewhere are taken out
of `sys.modules` (they go on working; nobody finds them by name).
"""

import encodings
import gc
import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from executor.linux.sealing import require_one_thread
from executor.process.native_image import NativeImage
from executor.process.plan import HOME, TEMPORARY

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PYTHON_COLORS": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": HOME,
    "USER": "agent",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "TERM": "dumb",
    "TMPDIR": TEMPORARY,
    "TZ": "UTC",
    # Where matplotlib is there, what it draws is shown (guest/display.py).
    "MPLBACKEND": "module://codecage_figures",
    # Pools of threads would be shut by the fork, and a box has one processor's share.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}


STDLIB: Final = Path(os.__file__).resolve().parent
_ZIP: Final = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
# Of `encodings`, those that are there on one system only.
_ELSEWHERE: Final = frozenset({"mbcs", "oem", "cp65001"})
# Finders that setuptools and editable installations add are ours, not the guest's.
_FINDERS: Final = ("BuiltinImporter", "FrozenImporter", "PathFinder")


def enter(image: NativeImage) -> None:
    """
    Have the guest's environment and import path. What is imported afterwards is the guest's.
    """
    os.environ.clear()
    os.environ.update({**ENVIRONMENT, **dict(image.importing)})
    time.tzset()
    sys.path[:] = [*_standard(sys.path), *image.site_packages]
    sys.meta_path[:] = [one for one in sys.meta_path if _name(one) in _FINDERS]
    sys.path_importer_cache.clear()
    sys.prefix = sys.base_prefix
    sys.exec_prefix = sys.base_exec_prefix
    sys.executable = ""
    sys.argv, sys.orig_argv = [""], [""]
    os.umask(0o022)


def _standard(paths: Iterable[str]) -> list[str]:
    def is_standard(path: str) -> bool:
        place = Path(path)
        own = place == STDLIB or place == STDLIB / "lib-dynload"
        return own or place.name == _ZIP

    return [path for path in paths if path and is_standard(path)]


def _name(finder: Any) -> str:
    return str(getattr(finder, "__name__", type(finder).__name__))


def hide(site_packages: Sequence[str]) -> tuple[ModuleType, ...]:
    """
    Take every module that is neither Python's own nor the image's out of `sys.modules`.

    Returns them; whoever forks keeps them alive.
    """
    places = tuple(f"{place}/" for place in (str(STDLIB), *site_packages))
    hidden = {
        name: module
        for name, module in sys.modules.items()
        if name != "__main__" and not _is_guests(module, places)
    }
    for name in hidden:
        del sys.modules[name]
    return tuple(hidden.values())


def _is_guests(module: ModuleType, places: tuple[str, ...]) -> bool:
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.origin in {"built-in", "frozen"}:
        # Modules that Python makes by hand, such as os.path's and typing.io, have no spec.
        file = getattr(module, "__file__", None)
        return file is None or _is_below(file, places)
    if spec.origin is not None:
        return _is_below(spec.origin, places)
    # A namespace package: a directory without a file.
    return all(_is_below(path, places) for path in module.__path__)


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return os.path.realpath(path).startswith(places)


def bring_in(image: NativeImage) -> None:
    """
    Import what the image says, and every codec: a box may not be able to read them later.
    """
    for found in pkgutil.iter_modules(encodings.__path__):
        if found.name not in _ELSEWHERE:
            importlib.import_module(f"encodings.{found.name}")
    for name in image.warm:
        importlib.import_module(name)
    for name, _ in image.importing:
        os.environ.pop(name, None)


def forget_fonts() -> None:
    """
    Let go of opened fonts: matplotlib does so in every child, where half a MiB would be written.
    """
    fonts = sys.modules.get("matplotlib.font_manager")
    if fonts is not None and (opened := getattr(fonts, "_get_font", None)) is not None:
        opened.cache_clear()


def settle() -> None:
    """
    Make memory ready to be shared by clones: no threads, no garbage, nothing for the collector.

    Raises MechanismFailed when a thread is left: cloning one thread of several is not safe.
    """
    # A plain fork runs the handlers by which libraries shut their pools of threads
    # (pthread_atfork(3)); a bare clone3(2) does not.
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    require_one_thread()
    gc.collect()
    gc.freeze()
