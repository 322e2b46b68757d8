"""
Where the record is when nobody says otherwise.
"""

import os
from pathlib import Path

_OF_ROOT = Path("/var/lib")


def default_path() -> Path:
    """
    `$XDG_STATE_HOME/codecage/audit.sqlite3`, by default below `~/.local/state`; for root below
    `/var/lib`, because a server that root starts becomes another user, whom root's home is closed.

    As the XDG Base Directory Specification says, a relative value is ignored. Source for root:
    the Filesystem Hierarchy Standard, 5.8.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = _OF_ROOT if os.geteuid() == 0 else Path.home() / ".local" / "state"
    return state / "codecage" / "audit.sqlite3"
