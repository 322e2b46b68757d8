"""
The fixtures of the wasm cage's tests, for the folders that name them in their conftest.
"""

from collections.abc import Iterator

import pytest

from executor.images.bootable import parts
from executor.images.manifest import Image
from executor.wasm.boot import boot
from executor.wasm.booted import Guest
from tests.executor.wasm.tiny_kernel import Kernel
from tests.executor.wasm.wasi_world import DataZygote
from tests.executor.wasm.world import Worker, Zygote, core_image


@pytest.fixture
def kernel() -> Kernel:
    """
    Every system call over one page of memory, without a guest.
    """
    return Kernel()


@pytest.fixture(scope="session")
def image() -> Image:
    """
    The built image `core`.
    """
    return core_image()


@pytest.fixture(scope="module")
def guest(image) -> Guest:
    """
    The real guest, booted in this process. No test of a module may end it.
    """
    return boot(parts(image))


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """
    One real zygote for all tests.
    """
    with Zygote() as running:
        yield running


@pytest.fixture(scope="session")
def data_zygote() -> Iterator[DataZygote]:
    """
    One real zygote of the image `data` for all tests; skips where the image is not built.
    """
    with DataZygote() as running:
        yield running


@pytest.fixture
def session(zygote) -> Iterator[Worker]:
    """
    A fresh locked worker in which a session has begun; ended afterwards.
    """
    with zygote.session() as worker:
        yield worker
