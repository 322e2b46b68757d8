"""
The code of a cell with its words told apart by colour: Python as Pygments reads it.

Only where the words begin and end comes from Pygments. The text is escaped by what escapes every
text here, the classes are a table of ours, and what does not come out as the text that went in is
shown plain; so is what is long, because a lexer made of expressions may be slow on texts that are
made for it.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

from executor.audit.review.html import Html, block, spans

MOST_HIGHLIGHTED: Final = 16_384
"""Characters of a code up to which it has colours."""
_CLASSES: Final = (
    (Comment, "comment"),
    (Keyword, "keyword"),
    (Operator.Word, "keyword"),
    (String, "string"),
    (Number, "number"),
    (Name.Function, "name"),
    (Name.Class, "name"),
    (Name.Decorator, "name"),
    (Name.Builtin, "builtin"),
    (Name.Exception, "builtin"),
)


def highlighted(code: str) -> Html:
    """
    A cell's code for a page.
    """
    if len(code) > MOST_HIGHLIGHTED:
        return block(code)
    parts = list(_parts(code))
    if "".join(words for _, words in parts) != code:
        return block(code)
    return spans(parts, kind="python")


def _parts(code: str) -> Iterator[tuple[str, str]]:
    tokens = ((_class_of(kind), words) for _, kind, words in _LEXER.get_tokens_unprocessed(code))
    for kind, run in groupby(tokens, key=lambda token: token[0]):
        yield kind, "".join(words for _, words in run)


_LEXER: Final = PythonLexer()


def _class_of(kind: _TokenType) -> str:
    return next((name for wide, name in _CLASSES if kind in wide), "")
