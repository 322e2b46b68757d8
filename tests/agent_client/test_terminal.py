import io
import unicodedata

import pytest
import scripted as scripts
from hypothesis import given
from hypothesis import strategies as st

from agent_client.terminal import Printer, visible


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(session, code, kind):
    out, err = kind(), kind()
    printer = Printer(out, err)
    printer.finish(session.run(code, on_output=printer.output))
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x1b]8;;evil\x1b\\", "\\x1b]8;;evil\\x1b\\"),
        ("\x9b31m", "\\x9b31m"),
        ("over\rwritten\b", "over\\rwritten\\x08"),
        ("\0\x7f", "\\x00\\x7f"),
        ("a\u202eb\u2066\u2028", "a\\u202eb\\u2066\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        (
            "caf\xe9 \N{EURO SIGN} \U0001f469\u200d\U0001f52c",
            "caf\xe9 \N{EURO SIGN} \U0001f469\u200d\U0001f52c",
        ),
    ],
)
def test_what_acts_is_escaped_and_what_shows_is_shown(text, shown):
    assert visible(text) == shown


@given(st.text(st.characters(), max_size=200))
def test_nothing_that_a_terminal_obeys_is_left(text):
    left = {char for char in visible(text) if unicodedata.category(char) in {"Cc", "Cf", "Cs"}}
    assert left <= set("\n\t\u200d")


def test_escape_sequences_of_the_guest_are_shown_on_a_terminal(session):
    out, err = printed(session, "escapes", Terminal)
    assert out == ('\\x1b]52;c;ZXZpbA==\\x07\\x1b[2J\\x00RESULT {"status": "ok"}\n\'\\x1b[31m\'\n')
    assert err == ""


def test_a_pipe_gets_what_the_guest_wrote(session):
    out, _ = printed(session, "escapes", io.StringIO)
    assert out.encode() == scripts.ESCAPES + b"'\x1b[31m'\n"


def test_output_goes_where_it_was_written_and_the_rest_follows_on_lines_of_its_own(session):
    assert printed(session, "both", io.StringIO) == ("out 1\nout 2\n'v'\n", "err 1\n")
    assert printed(session, "1/0", io.StringIO) == ("before\n", scripts.ERROR.traceback)
    lost = "[the session is lost: its memory limit was reached; open a new one]\n"
    assert printed(session, "die", io.StringIO) == ("last words", lost)
    assert printed(session, "die", Terminal) == ("last words\n", lost)
