"""
From an image to what a guest is booted from: every file checked as it is opened.
"""

from executor.images import pyc, sealed
from executor.images.manifest import (
    CLOSURES,
    EXTRA,
    PYTHON,
    RUNTIME,
    SITE_PACKAGES,
    SNAPSHOT,
    STDLIB,
    TRAMPOLINE,
    Image,
    NativeModule,
)
from executor.images.provides import elsewhere
from executor.wasm.parts import Parts, SideModule
from executor.wasm.snapshot import Snapshot


def parts(image: Image) -> Parts:
    """
    The image's files, each checked as it is opened.
    """
    manifest = image.manifest
    return Parts(
        guest=manifest.guest,
        python=_module(image, PYTHON),
        trampoline=_module(image, TRAMPOLINE),
        closures=_module(image, CLOSURES),
        stdlib=sealed.mapped(image, STDLIB),
        site_packages=_tree(image, SITE_PACKAGES),
        native={module.path: _side_module(image, module) for module in manifest.modules},
        extra={f"/{path}": data for path, data in _tree(image, EXTRA).items()},
        facts=dict(manifest.facts),
        warm=manifest.warm,
        image=image.name,
        elsewhere=elsewhere(image.name),
        runtime=pyc.unpack(sealed.read(image, RUNTIME)) if manifest.has(RUNTIME) else {},
        snapshot=_snapshot(image),
    )


def _snapshot(image: Image) -> Snapshot | None:
    if not image.manifest.has(SNAPSHOT):
        return None
    return Snapshot.decoded(sealed.read(image, SNAPSHOT))


def _module(image: Image, name: str) -> str:
    """
    The path of a sealed copy of a compiled module; empty where the image has none of that name.
    """
    if not image.manifest.has(name):
        return ""
    return f"/proc/self/fd/{sealed.open_module(image, name)}"


def _side_module(image: Image, module: NativeModule) -> SideModule:
    return SideModule(
        code=_module(image, module.code),
        adapter=_module(image, module.adapter),
        memory_size=module.memory_size,
        align=1 << module.memory_align,
        table_size=module.table_size,
        needed=module.needed,
        weak=frozenset(module.weak),
    )


def _tree(image: Image, folder: str) -> dict[str, bytes]:
    """
    The files below a folder of the image, by their path in it.
    """
    read = sealed.read_folder(image, folder)
    return {name.removeprefix(f"{folder}/"): data for name, data in read.items()}
