"""
Run as a module: what the native parts of a wheel import, by pyodide-build's auditwheel.

    python -m executor.images.auditwheel FOLDER ANSWER

FOLDER holds the shared libraries; ANSWER is written as JSON: for each, the number of imports by
WebAssembly module, and the libraries that it needs. In a process of its own because the files
come from a wheel, and because the library is not ours.
"""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

LIBRARY = "auditwheel_emscripten"


def main(arguments: list[str]) -> int:
    """
    Look into each file. Returns 0, or 1 with the reason on stderr.
    """
    library: Any = importlib.import_module(LIBRARY)
    folder, answer = map(Path, arguments)
    try:
        found = {path.name: _imports(library, path) for path in sorted(folder.iterdir())}
    except (RuntimeError, ValueError, IndexError, EOFError) as error:
        print(f"auditwheel cannot read it: {error}", file=sys.stderr)
        return 1
    answer.write_text(json.dumps(found), encoding="utf-8")
    return 0


def _imports(library: Any, path: Path) -> dict[str, Any]:
    (imports,) = library.get_imports(path).values()
    ((needed, _),) = library.show(path).values()
    return {"imports": dict(Counter(one.module for one in imports)), "needed": list(needed)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
