"""
What one thing to show may be: its forms by media type, bounded for both ends of a worker's socket.

The worker keeps these bounds against the guest, the server keeps them against the worker.
"""

import re
from collections.abc import Mapping
from typing import Final

# With its frame around it a bundle fits into the largest message that gRPC takes unless told
# otherwise, 4 MiB: so every client can receive it.
BUNDLE_MAX: Final = 3 * 2**20
FORMS_MAX: Final = 16
# What a bundle counts besides its bytes: one that shows nothing is not for nothing.
BUNDLE_COST: Final = 512
# RFC 6838, section 4.2: a type and a subtype of at most 127 characters, without parameters.
# Types are compared whatever their case (section 4.2); here the one spelling is in small letters.
_NAME: Final = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE: Final = re.compile(f"{_NAME}/{_NAME}", re.ASCII)


def is_media_type(text: str) -> bool:
    """
    Whether `text` is a media type, such as `image/png`, in small letters.
    """
    return _MEDIA_TYPE.fullmatch(text) is not None


def cost(forms: Mapping[str, bytes]) -> int:
    """
    What a bundle takes of the cell's output limit, in bytes.
    """
    return BUNDLE_COST + sum(len(kind) + len(data) for kind, data in forms.items())
