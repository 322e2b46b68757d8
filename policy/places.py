"""
How a place in a policy file is called, and the rule that stands there.
"""

from policy.document import Document, Path
from policy.errors import shown
from policy.types import Rule


def label(path: Path) -> str:
    """
    How a rule and a message name a place: `filesystem[0].deny[1]`.
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{shown(part, 40)}" for part in path]
    return "".join(parts).removeprefix(".")


def rule_at(document: Document, path: Path) -> Rule:
    """
    The rule at `path`: the place of its key, or of its value where it has none.
    """
    place = document.keys.get(path, document.where(path))
    text = document.lines[place.line - 1]
    return Rule(label(path), document.file, place.line, place.column, text)
