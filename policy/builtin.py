"""
The policies that need no file of an administrator.
"""

from importlib.resources import files

from policy.parse import parse
from policy.types import Policy


def _example(name: str) -> Policy:
    text = (files("policy") / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
    # It names no directory of the host, so there is nothing that `base` could be the base of.
    return parse(text, file=f"{name}.yaml", base="/")


CALCULATOR = _example("calculator")
"""Computing and scratch memory, nothing else: what a session gets that asks for no policy."""
