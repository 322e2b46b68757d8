"""
A native image as a value: the server tells of it, and a zygote makes a guest from it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NativeImage:
    """
    What a native guest is made from: a name and a key, the directories of its packages, the
    modules to import before forking, and what is in the environment while they are imported.

    `elsewhere` names, for modules that it has not, the images that have them.
    """

    name: str
    key: str
    site_packages: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    importing: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[tuple[str, tuple[str, ...]], ...] = ()
