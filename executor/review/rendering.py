"""
Pages out of templates, in which every text is escaped twice over: characters that act without a
shape are shown as escapes, and then HTML's own are.

The templates have the frame, the forms and the links; what a session is made of comes as `Html`
from `executor.audit.review`, where the written report has it from too.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from executor.audit.record import Text
from executor.audit.review import html
from executor.audit.review.html import Html, visible_words
from executor.audit.review.style import STYLE
from executor.review.highlighting import highlighted
from executor.review.places import record_place

_NANO: Final = 10**9


def render(name: str, **values: Any) -> str:
    """
    The page of that template.
    """
    return _environment().get_template(name).render(**values)


@cache
def style() -> bytes:
    """
    The one style sheet: that of the report, and what the pages have besides.
    """
    more = resources.files("executor.review").joinpath("site.css").read_text("utf-8")
    return (STYLE + more).encode()


def linked(sequence: int) -> Html:
    """
    A record's number as a link to its page.
    """
    return html.link(record_place(sequence), html.text(str(sequence)))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("executor.review"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        guest=_guest,
        block=_block,
        python=_python,
        trusted=_trusted,
        minute=_minute,
        lasted=_lasted,
        count=_count,
    )
    return made


def _harmless(value: object) -> object:
    """
    Applied to whatever a template puts out, before it is escaped.
    """
    return visible_words(value) if type(value) is str else value


def _guest(value: Text) -> Markup:
    return Markup(html.guest(value))  # noqa: S704 - escaped by what made it


def _block(value: str) -> Markup:
    return Markup(html.block(value))  # noqa: S704 - escaped by what made it


def _python(value: str) -> Markup:
    return Markup(highlighted(value))  # noqa: S704 - escaped by what made it


def _trusted(value: Html | Iterable[Html]) -> Markup:
    """
    What is `Html` by its type, and nothing else: mypy sees to it where the pages are made.
    """
    parts = [value] if isinstance(value, str) else value
    return Markup("".join(parts))  # noqa: S704 - escaped by what made it


def _minute(wall_ns: int) -> str:
    return f"{datetime.fromtimestamp(wall_ns // _NANO, UTC):%Y-%m-%d %H:%M:%S}"


def _lasted(nanoseconds: int) -> str:
    seconds = max(nanoseconds, 0) / _NANO
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _count(value: int) -> str:
    return f"{value:,}"
