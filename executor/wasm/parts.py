"""
What an image gives to boot a guest from: paths and bytes that the caller has verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from executor.wasm.layout import PYODIDE_314

if TYPE_CHECKING:
    from executor.wasm.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class SideModule:
    """
    A native part of a package, as the linker needs it (tool-conventions, DynamicLinking.md).

    `code` and `adapter` are paths of compiled modules, the latter empty where no import is
    bound late. Sizes are in bytes of memory and elements of the table; `align` is a power of
    two. `needed` are file names of libraries that come first, `weak` imports that may be absent.
    """

    code: str
    adapter: str
    memory_size: int
    align: int
    table_size: int
    needed: tuple[str, ...] = ()
    weak: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parts:
    """
    An image's files: paths of compiled modules, verified and sealed by the caller, the standard
    library's zip, the files of site-packages, its native parts, and what to import before
    forking.

    `native` maps a path below site-packages to its side module. `extra` are further files as
    the guest sees them, by absolute path, and `facts` what the build found out about the guest.
    `elsewhere` names, for modules that this image has not, the images that have them. `runtime`
    is the bytecode of the guest's half of the cells, by the digest of its sources; what is not
    in it is compiled. `snapshot` is what the image's build left of the guest that it booted; where
    it does not fit, or is not there, the guest is booted.
    """

    python: str
    trampoline: str
    stdlib: bytes | memoryview
    site_packages: Mapping[str, bytes]
    warm: tuple[str, ...] = ()
    guest: str = PYODIDE_314.guest
    closures: str = ""
    native: Mapping[str, SideModule] = field(default_factory=dict)
    extra: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, int] = field(default_factory=dict)
    image: str = ""
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runtime: Mapping[str, bytes] = field(default_factory=dict)
    snapshot: "Snapshot | None" = None
