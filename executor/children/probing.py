"""
What the process cage comes to on this machine, for `codecage doctor`.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Final

from executor.children.launcher import environment, program
from executor.kernel.boxing import HeldItem, Holding

_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class NotHeld:
    """
    No box holds here, and why; `missing` says that the host lacks something, otherwise a box was
    made and did not hold.
    """

    missing: bool
    reason: str


def probe() -> Holding | NotHeld:
    """
    Make a box in a process of its own, attack it, and end it, in some tenths of a second.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            program("executor.process.probe"),
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        said = json.loads(done.stdout)
        if done.returncode != 0:
            return NotHeld(said["missing"], said["reason"])
        items = tuple(HeldItem(**item) for item in said["items"])
        return Holding(said["level"], said["words"], items)
    except subprocess.TimeoutExpired:
        return NotHeld(missing=False, reason=f"no box was made within {_PATIENCE:g} s")
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return NotHeld(missing=False, reason=f"the attempt ended with {last or done.returncode}")
