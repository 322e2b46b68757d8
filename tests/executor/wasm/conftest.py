from tests.executor.wasm.fixtures import data_zygote, guest, image, kernel, session, zygote
from tests.executor.wasm.socket_kernel import net
from tests.executor.wasm.wasi_world import wasi

__all__ = ["data_zygote", "guest", "image", "kernel", "net", "session", "wasi", "zygote"]
