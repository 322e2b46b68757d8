"""
What the audit tests share: where a store goes, and texts held in files.

Set CODECAGE_REWRITE=1 to write `expected/` anew; then read the difference.
"""

import os
from pathlib import Path

import pytest

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture
def path(tmp_path):
    """
    A place for a store, in a directory that does not exist yet.
    """
    return tmp_path / "state" / "audit.sqlite3"


@pytest.fixture
def expected():
    """
    Compare a rendered text with the file of that name.
    """

    def check(name, text):
        held = EXPECTED / f"{name}.txt"
        if os.environ.get("CODECAGE_REWRITE") == "1":
            held.write_text(text, encoding="utf-8")
        assert held.read_text(encoding="utf-8") == text

    return check
