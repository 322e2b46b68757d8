"""
Booting the guest of an image: one function, for every kind of guest.
"""

from executor.wasm.booted import Guest
from executor.wasm.emscripten import EmscriptenGuest
from executor.wasm.layout import WASI_315
from executor.wasm.parts import Parts
from executor.wasm.wasip1 import WasiGuest


def boot(parts: Parts) -> Guest:
    """
    Boot the guest that the image holds, in this process and single-threaded.

    Raises InternalError where the image's module is not what its manifest says.
    """
    if parts.guest == WASI_315.guest:
        return WasiGuest(parts)
    return EmscriptenGuest(parts)
