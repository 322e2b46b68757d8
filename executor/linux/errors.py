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


class asking:  # noqa: N801 - read where it stands: `with asking(...)`
    """
    Turn the errors of the calls inside into ours: `asked` and `mend` complete the message.

    `about` stands for each {} in `asked`, and is looked at when something fails only: a box is
    made with hundreds of these. Raises MechanismMissing for ENOSYS and EOPNOTSUPP, MechanismFailed
    for every other OSError and for the ValueError by which `resource.setrlimit` reports EPERM.
    """

    __slots__ = ("_about", "_asked", "_mechanism", "_mend")

    def __init__(self, mechanism: str, asked: str, mend: str, *about: object) -> None:
        self._mechanism = mechanism
        self._asked = asked
        self._mend = mend
        self._about = about

    def __enter__(self) -> None:
        """
        Begin: there is nothing to do.
        """

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        """
        Raise what the error means, if there is one.
        """
        if isinstance(error, OSError):
            number = error.errno or 0
            kind = MechanismMissing if number in _ABSENT else MechanismFailed
            name = errno.errorcode.get(number, str(number))
            said = f"{self._said()} answered {name} ({os.strerror(number)}); {self._mend}"
            raise kind(self._mechanism, said) from error
        if isinstance(error, ValueError):
            said = f"{self._said()} was refused ({error}); {self._mend}"
            raise MechanismFailed(self._mechanism, said) from error

    def _said(self) -> str:
        # A path may have braces of its own.
        return self._asked.format(*self._about) if self._about else self._asked
