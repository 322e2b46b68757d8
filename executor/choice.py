"""
What can be wrong with the image that a session asks for; a branch of the tree in `errors.py`.

    ExecutorError
    ├── ImageNotAllowed    the policy has others; a decision like any other, and in the record
    ├── ImageNotBuilt      the policy has it, and the server's machine has not
    └── ImageTooLarge      it holds more, when it is booted, than the policy lets a session hold
"""

from executor.kernel.errors import ExecutorError, Status
from policy.doubts import SHIPPED_IMAGES
from policy.errors import shown
from policy.types import Policy
from policy.units import MIB

_LONGEST_NAME = 64
# What a session takes before its first cell: its directories, and a little of the guest's heap.
_ROOM = MIB
# A cell wants more than that; so many MiB above what the guest holds let ordinary ones run.
_ROOM_ADVISED = 64


class ImageNotAllowed(ExecutorError):
    """
    The session's policy does not have this image; `reason` is what `decide` said.

    The metadata names the images that it has: whoever may ask for a session may list them anyway.
    """

    def __init__(self, policy: Policy, asked: str, reason: str) -> None:
        super().__init__(
            Status.PERMISSION_DENIED,
            "IMAGE_NOT_ALLOWED",
            f"{reason}; ask for one of those, or for none to have the first",
            metadata={
                "policy": policy.name,
                "image": shown(asked, _LONGEST_NAME),
                "allowed": " ".join(policy.images),
            },
        )


class ImageNotBuilt(ExecutorError):
    """
    The image was not there for this machine when the server started.

    What the launcher may start is fixed at the start of the server, so that whoever took the
    server over could start nothing else: an image that is built later needs a restart.
    """

    def __init__(self, image: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "IMAGE_NOT_BUILT",
            f"the image {image} is not built on the server's machine, or was not when the server "
            f"started; build it there with {build_command(image)}, then restart the server (a "
            "private one ends with its connection: connect again)",
            metadata={"image": image},
        )


class ImageTooLarge(ExecutorError):
    """
    The booted guest holds `held` bytes, which is more than the policy's `limits.memory` or so
    close to it that no cell could run.
    """

    def __init__(self, policy: Policy, image: str, held: int) -> None:
        allowed = policy.limits.memory
        super().__init__(
            Status.FAILED_PRECONDITION,
            "IMAGE_TOO_LARGE",
            f"the image {image} holds {held / MIB:.1f} MiB before the first cell; limits.memory is "
            f"{allowed / MIB:.1f} MiB; ask for another image, or have the limit raised to "
            f"{held // MIB + _ROOM_ADVISED} MiB or more",
            metadata={
                "policy": policy.name,
                "image": image,
                "held": str(held),
                "allowed": str(allowed),
            },
        )


def require_room(policy: Policy, image: str, held: int) -> None:
    """
    Raises ImageTooLarge unless a session can begin in a guest that holds `held` bytes.
    """
    if held + _ROOM > policy.limits.memory:
        raise ImageTooLarge(policy, image, held)


def build_command(image: str) -> str:
    """
    What an administrator types to have the image of this name, in backquotes.
    """
    if image in SHIPPED_IMAGES:
        return f"`codecage image build {image}`"
    return f"`codecage image build FILE` (the declaration of {image})"
