"""
Side modules for tests, written as text: what a compiler's `-shared` makes, in a few lines.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import wasmtime

from executor.wasm.dylink import read_dylink
from executor.wasm.engine import new_engine
from executor.wasm.late import adapter, signature
from executor.wasm.parts import SideModule

_IMPORTS = """
  (import "env" "memory" (memory 1))
  (import "env" "__indirect_function_table" (table $table 0 funcref))
  (import "env" "__memory_base" (global $memory i32))
  (import "env" "__table_base" (global $base i32))
  (import "env" "__stack_pointer" (global $stack (mut i32)))
"""


def dylink_section(
    memory: int = 64,
    align: int = 4,
    table: int = 1,
    needed: tuple[str, ...] = (),
    weak: tuple[str, ...] = (),
) -> bytes:
    """
    The content of a dylink.0 section (DynamicLinking.md).
    """
    parts = _part(1, bytes((*_leb(memory), align, *_leb(table), 0)))
    if needed:
        parts += _part(2, _leb(len(needed)) + b"".join(map(_name, needed)))
    if weak:
        flags = b"".join(_name("env") + _name(name) + b"\x01" for name in weak)
        parts += _part(4, _leb(len(weak)) + flags)
    return parts


def _part(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + _leb(len(content)) + content


def _name(text: str) -> bytes:
    return _leb(len(text.encode())) + text.encode()


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def module(body: str, **section: object) -> bytes:
    """
    A side module with the usual imports, of the WebAssembly text `body`.

    Imports of the body come first: the text format wants them before anything else.
    """
    content = "".join(f"\\{byte:02x}" for byte in dylink_section(**section))  # type: ignore[arg-type]
    own = "\n".join(line for line in body.splitlines() if line.strip().startswith("(import"))
    rest = "\n".join(line for line in body.splitlines() if not line.strip().startswith("(import"))
    text = f'(module (@custom "dylink.0" (before first) "{content}") {own} {_IMPORTS} {rest})'
    return bytes(wasmtime.wat2wasm(text))


def compiled(
    folder: Path, modules: Mapping[str, bytes], late: tuple[str, ...] = ()
) -> dict[str, SideModule]:
    """
    Side modules by their path below site-packages; the functions in `late` get an adapter.
    """
    engine = new_engine()
    made = {}
    for path, data in modules.items():
        stem = folder / re.sub(r"\W", "_", path)
        module = wasmtime.Module(engine, data)
        code = stem.with_suffix(".cwasm")
        code.write_bytes(module.serialize())
        wanted = {
            item.name or "": signature(item.type)
            for item in module.imports
            if isinstance(item.type, wasmtime.FuncType) and item.name in late
        }
        beside = ""
        if wanted:
            beside = f"{stem}.late.cwasm"
            Path(beside).write_bytes(wasmtime.Module(engine, adapter(wanted)).serialize())
        info = read_dylink(data)
        made[path] = SideModule(
            code=str(code),
            adapter=beside,
            memory_size=info.memory_size,
            align=1 << info.memory_align,
            table_size=info.table_size,
            needed=info.needed,
            weak=frozenset(info.weak),
        )
    return made
