"""
The guest's half of the cells, as the one program that every kind of guest runs when it boots.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import codecage
from executor.wasm.parts import Parts

# The frames of these files are left out of tracebacks, by this name.
FILE: Final = "<codecage>"


def _read() -> dict[str, str]:
    # importlib.resources would be imported for this alone, by every zygote.
    files = [*(Path(__file__).parent / "guest").glob("*.py")]
    files.append(Path(codecage.__path__[0]) / "values.py")
    return {file.name: file.read_text(encoding="utf-8") for file in files}


# Read when this is imported: a zygote boots its guest when it can open no file any more.
SOURCES: Final = _read()


def source_digest(source: str) -> str:
    """
    By which an image has the bytecode of a source: one that has changed since is compiled.
    """
    return hashlib.sha256(source.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Program:
    """
    A source, and the bytes that it finds under the name `made`.
    """

    text: str
    made: bytes


def runtime_program(parts: Parts) -> Program:
    """
    What installs the guest's half, imports what the image says, and leaves the function that
    takes requests in `entry`.
    """
    codes = _Codes(parts.runtime)
    text = _text(parts, codes.named)
    return Program(text, bytes(codes.made))


def _text(parts: Parts, code: Callable[[str, str], str]) -> str:
    imported = "".join(f"import {name}\n" for name in parts.warm)
    elsewhere = {name: tuple(images) for name, images in sorted(parts.elsewhere.items())}
    return (
        "import sys, types, gc, marshal\n"
        f"{code('patches.py', 'patches')}"
        f"{code('tls_names.py', 'names')}"
        f"{code('tls_streams.py', 'streams')}"
        f"{code('tls.py', 'tls')}"
        "exec(patches, {'SSL': (names, streams, tls)})\n"
        f"{code('runtime.py', 'code')}"
        "module = types.ModuleType('_codecage')\n"
        "exec(code, module.__dict__)\n"
        f"{code('tracebacks.py', 'tracebacks')}"
        "module.use_tracebacks(tracebacks)\n"
        f"{code('finders.py', 'finders')}"
        "module.use_finders(finders)\n"
        f"{code('hashing.py', 'hashing')}"
        "module.use_hashing(hashing)\n"
        f"{code('display.py', 'display')}"
        "module.use_display(display)\n"
        f"{code('values.py', 'values')}"
        f"{code('tools.py', 'tools')}"
        "module.use_tools(values, tools)\n"
        f"{code('transactions.py', 'transactions')}"
        "module.use_transactions(transactions)\n"
        f"{code('magics.py', 'magics')}"
        f"{code('notebook.py', 'notebook')}"
        f"{code('advice.py', 'advice')}"
        "module.use_magics(magics, notebook, advice)\n"
        f"{code('loop.py', 'loop')}"
        "module.use_loop(loop)\n"
        f"{code('processes.py', 'processes')}"
        "module.use_processes(processes)\n"
        f"module.Absent.IMAGE = {parts.image!r}\n"
        f"module.Absent.ELSEWHERE = {elsewhere!r}\n"
        f"exec({imported!r}, {{}})\n"
        "module.remember_generators()\n"
        "entry = module.entry\n"
        "globals().pop('made', None)\n"
        "gc.collect()\n"
        "gc.freeze()\n"
    )


class _Codes:
    """
    The codes of the guest's files: what the image has of them, one after the other in `made`.
    """

    def __init__(self, image: Mapping[str, bytes]) -> None:
        self._image = image
        self.made = bytearray()

    def named(self, file: str, name: str) -> str:
        """
        A statement that keeps the code of one of the guest's files under `name`; it is compiled
        where the image has none of this source.
        """
        source = SOURCES[file]
        data = self._image.get(source_digest(source))
        if data is None:
            return f"{name} = compile({source!r}, {FILE!r}, 'exec')\n"
        start = len(self.made)
        self.made += data
        return f"{name} = marshal.loads(made[{start}:{len(self.made)}])\n"
