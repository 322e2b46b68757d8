"""
Something harmless that must be refused: that a lock holds is not to be believed, but seen.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from executor.linux.errors import MechanismFailed


@dataclass(frozen=True, slots=True)
class Canary:
    """
    Something that must fail with `answer`; `layer` is what refuses it.
    """

    layer: str
    asked: str
    answer: int
    act: Callable[[], object]

    def ask(self) -> None:
        """
        Raises MechanismFailed where it passes, or is refused with something else.
        """
        try:
            self.act()
        except OSError as error:
            if error.errno == self.answer:
                return
            found = errno.errorcode.get(error.errno or 0, str(error))
        else:
            found = "an answer"
        wanted = errno.errorcode[self.answer]
        raise MechanismFailed(
            self.layer, f"{self.asked} got {found} instead of {wanted}; do not run here"
        )
