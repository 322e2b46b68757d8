"""
What a gate says of a commit.
"""

from dataclasses import dataclass
from enum import Enum


class Judgement(Enum):
    """
    A gate's answer; the value is the word in the record and for clients. Only `PASSED` is a yes.
    """

    PASSED = "passed"
    FAILED = "failed"  # it looked, and says no
    REFUSED = "refused"  # there is something that it does not look at
    BROKEN = "broken"  # it came to no answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The answer of one gate. `message` is what it wrote, which the judged files may have dictated;
    `output_digest` is the SHA-256, in hex, of all of that, `session` the identity of the session
    that it ran in; both are empty where it did not run. `advisory` says that a yes decides nothing.
    """

    gate: str
    judgement: Judgement
    message: str
    advisory: bool = False
    session: str = ""
    output_digest: str = ""

    @property
    def passed(self) -> bool:
        """
        Whether it is a yes.
        """
        return self.judgement is Judgement.PASSED

    @property
    def summary(self) -> str:
        """
        The answer in a few words, for the record.
        """
        how = " (advice)" if self.advisory else ""
        ran = (
            f", session {self.session}, output sha256 {self.output_digest}" if self.session else ""
        )
        return f"gate {self.gate} {self.judgement.value}{how}{ran}"
