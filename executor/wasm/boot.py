"""
Booting the guest of an image: one function, for every kind of guest.
"""

from typing import Final

from executor.linux import rlimits
from executor.wasm.booted import Guest
from executor.wasm.emscripten import EmscriptenGuest
from executor.wasm.engine_config import MAX_WASM_STACK
from executor.wasm.layout import WASI_315
from executor.wasm.parts import Parts

# The guest's stack is a part of the main thread's, which grows as far as its limit lets it; the
# rest is for the Python around the guest.
STACK: Final = MAX_WASM_STACK + 4 * 2**20


def kind(guest: str) -> type[Guest]:
    """
    The class of a guest. Who boots it when no file can be read any more asks before that: most
    zygotes have no use for the code of the other kind.
    """
    if guest != WASI_315.guest:
        return EmscriptenGuest
    from executor.wasm.wasip1 import WasiGuest  # noqa: PLC0415 - as above

    return WasiGuest


def boot(parts: Parts) -> Guest:
    """
    Boot the guest that the image holds, in this process's main thread.

    Raises InternalError where the image's module is not what its manifest says, MechanismFailed
    where the process may not have the stack that the guest needs.
    """
    rlimits.at_least(rlimits.Limit.STACK, STACK)
    return kind(parts.guest)(parts)
