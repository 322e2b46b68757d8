"""
The guest's half of the cells, as the one program that every kind of guest runs when it boots.
"""

from pathlib import Path
from typing import Final

from executor.wasm.parts import Parts

# The frames of these files are left out of tracebacks, by this name.
_FILE: Final = "<codecage>"


def _read() -> dict[str, str]:
    # importlib.resources would be imported for this alone, by every zygote.
    files = (Path(__file__).parent / "guest").glob("*.py")
    return {file.name: file.read_text(encoding="utf-8") for file in files}


# Read when this is imported: a zygote boots its guest when it can open no file any more.
SOURCES: Final = _read()


def runtime_program(parts: Parts) -> str:
    """
    The source that installs the guest's half, imports what the image says, and leaves the
    function that takes requests in `entry`.
    """
    imported = "".join(f"import {name}\n" for name in parts.warm)
    elsewhere = {name: tuple(images) for name, images in sorted(parts.elsewhere.items())}
    return (
        "import sys, types, gc\n"
        f"{_compiled('patches.py', 'patches')}"
        f"{_compiled('tls_names.py', 'names')}"
        f"{_compiled('tls_streams.py', 'streams')}"
        f"{_compiled('tls.py', 'tls')}"
        "exec(patches, {'SSL': (names, streams, tls)})\n"
        f"{_compiled('runtime.py', 'code')}"
        "module = types.ModuleType('_codecage')\n"
        "exec(code, module.__dict__)\n"
        f"{_compiled('finders.py', 'finders')}"
        "module.use_finders(finders)\n"
        f"{_compiled('hashing.py', 'hashing')}"
        "module.use_hashing(hashing)\n"
        f"{_compiled('display.py', 'display')}"
        "module.use_display(display)\n"
        f"{_compiled('magics.py', 'magics')}"
        f"{_compiled('notebook.py', 'notebook')}"
        "module.use_magics(magics, notebook)\n"
        f"{_compiled('loop.py', 'loop')}"
        "module.use_loop(loop)\n"
        f"module.Absent.IMAGE = {parts.image!r}\n"
        f"module.Absent.ELSEWHERE = {elsewhere!r}\n"
        f"exec({imported!r}, {{}})\n"
        "module.remember_generators()\n"
        "entry = module.entry\n"
        "gc.collect()\n"
        "gc.freeze()\n"
    )


def _compiled(file: str, name: str) -> str:
    """
    A statement that compiles one of the guest's files and keeps it under `name`.
    """
    return f"{name} = compile({SOURCES[file]!r}, {_FILE!r}, 'exec')\n"
