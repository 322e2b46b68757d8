"""
The documents as tests read them: sections, blocks of code, and excerpts of what a demo printed.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

# What differs between two runs of one demo, and what stands for it.
_VARIES = (
    (r"\d+\.\d ms", "T ms"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+", "TIME"),
    (r"localhost:\d+", "localhost:PORT"),
    (r"(head) \d+:[0-9a-f]{64}", r"\1 HEAD"),
    (r" +", " "),
    (r"(?m) $", ""),
)


def section(text: str, heading: str) -> str:
    return text.split(heading, 1)[1].split("\n## ", 1)[0]


def blocks(text: str, language: str) -> list[str]:
    # All fences are read, or the end of one block would be taken for the beginning of another.
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [content for word, content in found if word == language]


def excerpt(heading: str) -> str:
    """
    What a section of the README shows of a demo's output: its last block without a language.
    """
    return blocks(section(README, heading), "")[-1]


def missing(shown: str, printed: str) -> str:
    """
    The first part of an excerpt, between lines of three dots, that does not follow in the output.

    Times, ports, heads and the widths of columns are left out of the comparison.
    """
    rest = _alike(printed)
    for part in re.split(r"^\.\.\.\n", shown, flags=re.MULTILINE):
        _, found, rest = rest.partition(_alike(part))
        if not found:
            return part
    return ""


def _alike(text: str) -> str:
    for pattern, instead in _VARIES:
        text = re.sub(pattern, instead, text)
    return text
