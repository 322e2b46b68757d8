r"""
Texts of a guest, made safe to look at and still told apart.

A path may hold an escape sequence that recolours the terminal, a newline that forges a second
row, or a right-to-left override that shows `gpj.exe` as `exe.jpg`. `visible` writes everything
but plain printable characters as a Python escape. Backslashes are doubled, so the text can be
read back, and the mark of a cut text (`\cut{...}`) is one that no guest text becomes.
"""

import unicodedata

from executor.audit.record import Cut, Text

_NAMED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKS = frozenset({"Mn", "Me", "Mc"})


def visible(text: Text) -> str:
    """
    One line that a terminal and a table can show; different texts give different lines.
    """
    if isinstance(text, Cut):
        return visible(text.start) + text.mark
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    named = _NAMED.get(character)
    if named is not None:
        return named
    # Combining marks are printable, but draw over the character before them.
    if character.isprintable() and unicodedata.category(character) not in _MARKS:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def columns(text: str) -> int:
    """
    How many terminal columns a visible text takes: East Asian wide characters take two.
    """
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
