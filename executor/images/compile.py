"""
Run as a module: compile WebAssembly to machine code and write it out.

    python -m executor.images.compile SOURCE TARGET [SOURCE TARGET...]

In a process of its own because compiling takes 350 MB that the builder's process would keep,
and because the compiler reads foreign data: `process.py` limits it.
"""

import sys
from pathlib import Path

import wasmtime

from executor.wasm.engine import new_engine


def main(arguments: list[str]) -> int:
    """
    Compile each source to the target after it. Returns 0, or 1 with the reason on stderr.
    """
    if not arguments or len(arguments) % 2:
        print("usage: compile SOURCE TARGET [SOURCE TARGET...]", file=sys.stderr)
        return 2
    engine = new_engine()
    for source, target in zip(arguments[::2], arguments[1::2], strict=True):
        try:
            module = wasmtime.Module(engine, Path(source).read_bytes())
        except wasmtime.WasmtimeError as error:
            print(f"{source} does not compile: {error}", file=sys.stderr)
            return 1
        Path(target).write_bytes(module.serialize())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
