from tests.executor.wasm.fixtures import data_zygote, guest, image, kernel, session, zygote

__all__ = ["data_zygote", "guest", "image", "kernel", "session", "zygote"]
