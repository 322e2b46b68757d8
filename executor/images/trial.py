"""
Run as a module: boot a finished image once, before it is published.

    python -m executor.images.trial DRAFT MANIFEST

A zygote imports what the image says before it forks. An import that fails there would fail for
everybody, at every start; here it refuses the build and says which one it was.
"""

import sys
from pathlib import Path

from executor.images.bootable import parts
from executor.images.manifest import Image, from_json
from executor.kernel.errors import InternalError
from executor.wasm.boot import boot


def main(arguments: list[str]) -> int:
    """
    Boot the image. Returns 0, or 1 with what the guest said on stderr.
    """
    draft, text = (Path(argument) for argument in arguments)
    described = from_json(text.read_bytes())
    try:
        boot(parts(Image(described.name, described.key, draft, described)))
    except InternalError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
