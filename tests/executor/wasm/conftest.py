from tests.executor.wasm.fixtures import guest, image, kernel, session, zygote

__all__ = ["guest", "image", "kernel", "session", "zygote"]
