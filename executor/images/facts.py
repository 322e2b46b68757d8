"""
Run as a module: find out about a guest's interpreter what its image must remember.

    python -m executor.images.facts GUEST PYTHON STDLIB EXTRA ANSWER

PYTHON is the compiled module, EXTRA the directory of further files, ANSWER is written as JSON:
numbers by name. In a process of its own because a guest is booted for it.
"""

import json
import sys
from pathlib import Path

from executor.images.wasi import find_facts
from executor.wasm.parts import Parts


def main(arguments: list[str]) -> int:
    """
    Boot the guest, look, and write the answer. Returns 0.
    """
    guest, python, stdlib, extra, answer = arguments
    root = Path(extra)
    files = (path for path in root.rglob("*") if path.is_file())
    parts = Parts(
        guest=guest,
        python=python,
        trampoline="",
        stdlib=Path(stdlib).read_bytes(),
        site_packages={},
        extra={f"/{path.relative_to(root)}": path.read_bytes() for path in files},
    )
    Path(answer).write_text(json.dumps(find_facts(parts)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
