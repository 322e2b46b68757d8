"""
Run as a module: fetch one file over http or https.

    python -m executor.images.download ADDRESS TARGET

In a process of its own because a server decides how long each step of a download takes, and
the build says how long all of it may: `process.py` ends it. Proxies and certificates are those
of the environment.
"""

import http.client
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

_IDLE_SECONDS: Final = 60
_CHUNK: Final = 2**20


def main(arguments: list[str]) -> int:
    """
    Fetch the file. Returns 0, or 1 with the reason on stderr. Its size is the caller's limit.
    """
    address, target = arguments
    try:
        with (
            _opener().open(address, timeout=_IDLE_SECONDS) as answer,
            Path(target).open("xb") as to,
        ):
            while chunk := answer.read1(_CHUNK):
                to.write(chunk)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: it also opens file: and ftp: addresses, to which a server may redirect.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
