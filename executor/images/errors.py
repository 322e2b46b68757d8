"""
What can go wrong with images. All of it is for the person who builds or starts a server.

ImageError
├── PlatformUnsupportedError   this machine cannot run a compiled guest
├── ToolMissingError           node, npm or pip is absent or too old
├── ToolFailedError            a tool ended badly, or met one of its limits
├── PinMismatchError           bytes are not the ones that the package pins
├── DeclarationRefusedError   a declaration is malformed, or names what is not there
├── SourceRefusedError        a source of wheels is malformed, missing or not configured
├── LockRefusedError           a lock file is malformed, or lacks what was asked for
├── WheelRefusedError          a wheel holds what an image must not hold
├── CacheRefusedError          the cache directory cannot be trusted or written
└── ImageRefusedError          a cached image is not what its manifest says
"""


class ImageError(Exception):
    """
    The root of the tree; the text says what was asked, what is allowed and what to do.
    """


class PlatformUnsupportedError(ImageError):
    """
    Compiled images run on Linux x86-64 with glibc, and this is something else.
    """


class ToolMissingError(ImageError):
    """
    A program that a build needs is not on this machine, or is too old.
    """


class ToolFailedError(ImageError):
    """
    A program that a build ran ended with an error, or went over a limit.
    """


class PinMismatchError(ImageError):
    """
    Something fetched or made has other bytes than those pinned in the package.
    """


class DeclarationRefusedError(ImageError):
    """
    A declaration of an image cannot be read; the text holds every problem with its place.
    """


class SourceRefusedError(ImageError):
    """
    A source that a declaration names cannot be used: it is missing, malformed or not configured.
    """


class LockRefusedError(ImageError):
    """
    A requirements lock cannot be read, or does not name a package that was asked for.
    """


class WheelRefusedError(ImageError):
    """
    A wheel is not what its lock or its own RECORD says, or holds a forbidden file.
    """


class CacheRefusedError(ImageError):
    """
    The cache is not a directory that only its owner can write.
    """


class ImageRefusedError(ImageError):
    """
    A cached image was changed, is incomplete, or could be changed by somebody else.
    """
