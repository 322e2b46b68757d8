"""
Chance after a fork: what the zygote made must not be the same in two sessions.

Python reseeds `random` itself after a fork, and OpenSSL and the kernel's own bytes (os.urandom,
secrets, uuid4) never repeat. The shared runtime reseeds what programs usually hold: instances of
random.Random, numpy's RandomState and Generator, numpy's global state and tempfile's names. Here
is what a native zygote can hold besides: numpy's bare bit generators, and what uuid1 remembers
of its node. What cannot be changed after a fork is the seed of str hashes: boxes of one zygote
share it, and zygotes differ (object.__hash__, PYTHONHASHSEED).
"""

import gc
import hashlib
import sys
from typing import Any

_WORDS = 16


def remember() -> tuple[Any, ...]:
    """
    Every bit generator of numpy's that exists; to be called before what exists is frozen.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return ()
    kind = numpy_random.BitGenerator
    return tuple(one for one in gc.get_objects() if issubclass(type(one), kind))


def renew(kept: tuple[Any, ...], seed: bytes) -> None:
    """
    Give each of `kept` a state of its own from `seed` (32 bytes or more), and forget uuid1's node.
    """
    for number, one in enumerate(kept):
        digest = hashlib.sha512(b"%d:%b" % (number, seed)).digest()
        words = [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 64, 4)]
        one.state = type(one)(words[:_WORDS]).state
    if (uuid := sys.modules.get("uuid")) is not None:
        vars(uuid).update(_node=None, _last_timestamp=None)
