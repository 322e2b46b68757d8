"""
Which shipped image has a module: what a guest can be told when an import fails.

The table is made when the shipped images are locked, from the very wheels that the locks name,
and read once. It knows top-level names, as an import statement begins with; Python's own
library is in every image and in no row.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from executor.images.native_name import is_native
from executor.images.pins import HERE

TABLE: Final = HERE / "shipped" / "provides.json"
# Python's own modules that the Python which locks may be too old to know.
_LATER: Final = frozenset({"annotationlib", "compression", "profiling"})
_NOT_MODULES: Final = (".dist-info", ".data", ".libs")


def provides(name: str) -> tuple[str, ...]:
    """
    The shipped images in which `import name` finds something, sorted; empty where none does.

    `name` may be dotted: its first part is looked up. Reads one small file, once.
    """
    return _images().get(name.partition(".")[0], ())


def elsewhere(image: str) -> dict[str, tuple[str, ...]]:
    """
    What the image `image` has not and other shipped images have: their names, by module.
    """
    return {name: images for name, images in _images().items() if image not in images}


@cache
def _images() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for image, names in sorted(read_table(TABLE).items()):
        for name in names:
            found.setdefault(name, []).append(image)
    return {name: tuple(images) for name, images in found.items()}


def read_table(path: Path) -> dict[str, list[str]]:
    """
    The table by image; empty where there is no file yet.
    """
    try:
        data: dict[str, list[str]] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return data


def table_text(rows: Mapping[str, Iterable[str]]) -> str:
    """
    The table as text: one name a line, for a person to diff.
    """
    data = {image: sorted(set(names)) for image, names in rows.items()}
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def top_level(files: Iterable[str]) -> tuple[str, ...]:
    """
    The public modules that files below site-packages make importable, sorted.

    A name that begins with an underscore is a package's own affair, and not in the answer; nor
    is one of Python's own library.
    """
    found = set()
    for file in files:
        top, _, inner = file.partition("/")
        if top.endswith(_NOT_MODULES):
            continue
        last = file.rpartition("/")[2]
        if last.endswith((".py", ".pyc")) or is_native(last):
            found.add(top if inner else top.partition(".")[0])
    own = sys.stdlib_module_names | _LATER
    return tuple(
        sorted(name for name in found if name.isidentifier() and name[0] != "_" and name not in own)
    )
