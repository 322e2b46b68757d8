"""
Code with colours: the same text, escaped as any other, and plain where it is long.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.audit.review.html import block
from executor.review.highlighting import MOST_HIGHLIGHTED, highlighted
from tests.executor.audit.markup import Markup

CLASSES = {"python", "comment", "keyword", "string", "number", "name", "builtin"}
HOSTILE = (
    "'</span></pre><script>alert(1)</script>'",
    '# "><img src=x onerror=alert(1)>',
    "print('\x1b[2J\x1b[31mred')",
    "'\u202egpj.exe'",
    "x = 1\r\ny = 2\x0c\x00",
    "caf\u0065\u0301 = 1",
    "<style>*{display:none}</style>",
    "\ud800",
)


def test_words_are_told_apart():
    read = Markup(highlighted("@cached\ndef add(a):  # sum\n    return 'x' + str(1)\n"))
    assert ("keyword", "def") in read.classed
    assert ("name", "add") in read.classed
    assert ("comment", "# sum") in read.classed
    assert ("string", "'x'") in read.classed
    assert ("builtin", "str") in read.classed
    assert ("number", "1") in read.classed


@pytest.mark.parametrize("code", HOSTILE, ids=[ascii(code[:8]) for code in HOSTILE])
def test_a10_hostile_code_is_text(code):
    read = Markup(highlighted(code))
    assert set(read.tags) <= {"pre", "span", "i"}
    assert {kind for kind, _ in read.classed} <= CLASSES
    assert {name for name, _ in read.attributes} <= {"class", "dir", "tabindex"}
    assert all(line.isprintable() for line in read.source.split("\n"))
    assert read.text == Markup(block(code)).text


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab \n\t\r'\"\\#({[f:@0<>&\x1b\u202e"), max_size=60))
def test_any_code_is_shown_as_the_text_that_it_is(code):
    assert Markup(highlighted(code)).text == Markup(block(code)).text


def test_long_code_is_plain():
    short, long = ("x" * size for size in (MOST_HIGHLIGHTED, MOST_HIGHLIGHTED + 1))
    assert 'class="python"' in highlighted(short)
    assert highlighted(long) == block(long)
