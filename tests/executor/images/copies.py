"""
Caches of a test's own that begin with what another one holds.
"""

import os
import shutil

from executor.images import catalog
from executor.images.cache import Cache, prepare
from executor.images.manifest import Image


def linked(source: str, target: str) -> str:
    """
    The same file under another name, or a copy where a link cannot be.

    For files that nobody writes in place: what is in a cache is replaced, never rewritten, and a
    test that spoils a file has to copy it.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def seeded_cache(source: Cache, made: Cache, *images: Image) -> Cache:
    """
    `made` with the inputs of `source` and some of its images; these are copies, to be spoilt.
    """
    prepare(made)
    shutil.copytree(source.inputs, made.inputs, dirs_exist_ok=True, copy_function=linked)
    for image in images:
        shutil.copytree(image.path, made.images / image.path.name)
    shutil.copy(source.index, made.index)
    catalog.prune(tuple(image.key[:12] for image in images), cache=made)
    return made
