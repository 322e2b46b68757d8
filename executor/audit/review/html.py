"""
HTML that is only ever made of escaped texts.

`Html` is a type of its own: what is no `Html` becomes one by `text` or `guest`, which escape, or
by `element`. A string that was put between tags without that is an error of types.
"""

import html
from collections.abc import Iterable, Sequence
from typing import NewType

from executor.audit.escape import visible
from executor.audit.record import Text

Html = NewType("Html", str)

NOTHING = Html("")


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
    assert kind.replace("-", "").replace(" ", "").isalnum() or not kind
    classes = f' class="{kind}"' if kind else ""
    return Html(f"<{tag}{classes}>{''.join(content)}</{tag}>")


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
