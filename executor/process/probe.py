"""
How a box holds on this machine, asked without a server: one is made, attacked from inside, ended.

A program of its own, because only a process with one thread may be cloned. It prints one line of
JSON and ends with status 0 where boxes hold, 1 where they do not; `codecage doctor` reads that.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from executor.images.cache import default_cache
from executor.linux.errors import MechanismError, MechanismMissing
from executor.process import jail, slots, zygote_lock
from executor.process.images import DECLARED, image_of
from executor.process.zygote_boxes import Boxes


def main(_arguments: Sequence[str] = ()) -> int:
    """
    Make the box and tell.
    """
    try:
        own = slots.claim()
        zygote_lock.lock(own)
        jail.prepare()
        holding = Boxes(image_of(DECLARED[0], default_cache()), own).attacked()
    except MechanismError as error:
        missing = isinstance(error, MechanismMissing)
        print(json.dumps({"missing": missing, "reason": str(error)}))
        return 1
    print(json.dumps(asdict(holding)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
