"""
What the tests of `policy/` share: a policy from a few lines, and texts held in files.

Set CODECAGE_REWRITE=1 to write `tests/expected/policy/` anew; then read the difference.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from policy.parse import parse
from policy.types import Policy

EXPECTED = Path(__file__).parent.parent / "expected" / "policy"


@pytest.fixture
def expected() -> Callable[[str, str], None]:
    """
    Compare a rendered text with the file of that name.
    """

    def check(name: str, text: str) -> None:
        path = EXPECTED / f"{name}.txt"
        if os.environ.get("CODECAGE_REWRITE") == "1":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text + "\n"

    return check


@pytest.fixture
def policy() -> Callable[..., Policy]:
    """
    A policy from the lines that follow `version` and `name`; its directory is /srv/policies.
    """

    def make(text: str = "", protected: tuple[str, ...] = ()) -> Policy:
        whole = f"version: 1\nname: sample\n{text}"
        return parse(whole, file="sample.yaml", base="/srv/policies", protected=protected)

    return make
