"""
What a kernel mechanism can answer instead of doing its work.

    MechanismError
    ├── MechanismMissing   this kernel or machine does not have it
    ├── MechanismFailed    it is there and refused, or did not do all that was asked
    └── DescriptorRefused  a received descriptor is not what its receiver may hold

None of them is ever answered with something weaker: who catches one ends what was being built.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class MechanismError(Exception):
    """
    The base of this package's errors; `mechanism` is the kernel's word for what was asked.
    """

    def __init__(self, mechanism: str, message: str) -> None:
        super().__init__(f"{mechanism}: {message}")
        self.mechanism = mechanism


class MechanismMissing(MechanismError):
    """
    The kernel or the machine lacks the mechanism; the message says what to do about it.
    """


class MechanismFailed(MechanismError):
    """
    The mechanism exists and did not do all that was asked.
    """


class DescriptorRefused(MechanismError):
    """
    A passed descriptor is neither a regular file open for reading only nor a connected stream.
    """


# What the kernel says of a system call that it was built without, or that is switched off.
_ABSENT = frozenset({errno.ENOSYS, errno.EOPNOTSUPP})


@contextmanager
def asking(mechanism: str, asked: str, mend: str) -> Iterator[None]:
    """
    Turn the errors of the calls inside into ours: `asked` and `mend` complete the message.

    Raises MechanismMissing for ENOSYS and EOPNOTSUPP, MechanismFailed for every other OSError
    and for the ValueError by which `resource.setrlimit` reports EPERM.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        kind = MechanismMissing if number in _ABSENT else MechanismFailed
        name = errno.errorcode.get(number, str(number))
        said = f"{asked} answered {name} ({os.strerror(number)}); {mend}"
        raise kind(mechanism, said) from error
    except ValueError as error:
        raise MechanismFailed(mechanism, f"{asked} was refused ({error}); {mend}") from error
