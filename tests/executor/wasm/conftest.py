from tests.executor.wasm.fixtures import guest, kernel, session, zygote

__all__ = ["guest", "kernel", "session", "zygote"]
