from tests.executor.wasm.fixtures import data_zygote, guest, image, kernel, session, zygote
from tests.executor.wasm.socket_kernel import net

__all__ = ["data_zygote", "guest", "image", "kernel", "net", "session", "zygote"]
