"""
HTML that is only ever made of escaped texts.

`Html` is a type of its own: what is no `Html` becomes one by `text` or `guest`, which escape, or
by `element`. A string that was put between tags without that is an error of types.
"""

import html
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NewType

from executor.audit.escape import visible
from executor.audit.record import Text

Html = NewType("Html", str)

NOTHING = Html("")
_PLACE = re.compile("/[0-9A-Za-z_@.-]+(?:/[0-9A-Za-z_@.-]+)*")


def text(words: str) -> Html:
    """
    Words of ours, or numbers.
    """
    return Html(html.escape(visible_words(words)))


def guest(value: Text) -> Html:
    """
    A text that may be anybody's: control characters and marks of direction are shown as escapes,
    and letters that run from right to left move nothing beside them.
    """
    return Html(f'<code dir="ltr">{html.escape(visible(value))}</code>')


def seen(words: str) -> Html:
    """
    A text that `visible` has been over already.
    """
    return Html(f'<code dir="ltr">{text(words)}</code>') if words else NOTHING


def block(words: str) -> Html:
    """
    Several lines of anybody's, as they are: lines and tabs are kept and backslashes stay single.
    What else has an effect and no shape stands there as an escape that is marked as one, which no
    text can imitate.
    """
    return spans([("", words)])


def spans(parts: Iterable[tuple[str, str]], *, kind: str = "") -> Html:
    """
    As `block`, of parts that have a class of ours each, "" for none; and so has the whole.
    """
    shown = (_span(part, words) for part, words in parts)
    classes = f' class="{_class(kind)}"' if kind else ""
    return Html(f'<pre dir="ltr" tabindex="0"{classes}>{"".join(shown)}</pre>')


def _span(kind: str, words: str) -> str:
    lines = "\n".join(map(_line, words.split("\n")))
    return f'<span class="{_class(kind)}">{lines}</span>' if kind else lines


def _class(kind: str) -> str:
    assert kind.replace("-", "").replace(" ", "").isalnum()
    return kind


def _line(words: str) -> str:
    if words.isascii() and words.isprintable():
        return html.escape(words)
    parts = ((odd, html.escape("".join(run))) for odd, run in groupby(words, _is_odd))
    return "".join(f"<i>{visible(part)}</i>" if odd else part for odd, part in parts)


def _is_odd(character: str) -> bool:
    return character not in "\t\\" and visible(character) != character


def visible_words(words: str) -> str:
    """
    The words, without a character that has an effect and no shape; backslashes stay single.
    """
    return words if words.isprintable() else visible(words)


def element(tag: str, *content: Html, kind: str = "") -> Html:
    """
    An element with a class of ours, "" for none. `tag` and `kind` are never anybody else's words.
    """
    assert tag.isalnum()
    classes = f' class="{_class(kind)}"' if kind else ""
    return Html(f"<{tag}{classes}>{''.join(content)}</{tag}>")


def link(place: str, content: Html) -> Html:
    """
    A link to an address of ours; ValueError for one that could lead elsewhere or end the attribute.
    """
    if not _PLACE.fullmatch(place):
        raise ValueError(f"{place!r} is no address of a page")
    return Html(f'<a href="{html.escape(place)}">{content}</a>')


def table(
    headings: Sequence[str], rows: Iterable[tuple[str, Sequence[Html]]], *, kind: str = ""
) -> Html:
    """
    A table; each row has its class, "" for none. It scrolls by itself where it is too wide.
    """
    head = element("tr", *(element("th", text(heading)) for heading in headings))
    body = [
        element("tr", *(element("td", cell) for cell in cells), kind=row) for row, cells in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body), kind=kind)
    return element("div", inner, kind="wide")


def pairs(rows: Iterable[tuple[str, Html]]) -> Html:
    """
    Names and what stands for them; those with nothing are left out.
    """
    said = [(name, value) for name, value in rows if value]
    return element(
        "dl",
        *(Html(element("dt", text(name)) + element("dd", value)) for name, value in said),
    )
