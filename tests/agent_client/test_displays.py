import asyncio
import base64
import io
import json
import os
import re

import pytest
import scripted as scripts
from hypothesis import given
from hypothesis import strategies as st

import agent_client
from agent_client import Display, Ended, Output, Started, Stream, Value
from agent_client.commands import report
from agent_client.commands.run import save_displays
from agent_client.terminal import Printer

PICTURE = scripts.PICTURE
FIGURE = {"text/plain": b"<Figure>", "image/png": PICTURE}
FIGURE_TEXT = "<Figure>\n[image/png 640x480, 28 bytes]"


# ---- one display ---------------------------------------------------------------------------------


def test_forms_are_given_by_type_and_the_richest_comes_first():
    shown = Display({"x/y": b"1", "text/plain": b"t", "a/b": b"2", "image/png": PICTURE})
    assert shown.types == ("image/png", "text/plain", "a/b", "x/y")
    assert (shown.png, shown.text, shown.html) == (PICTURE, "t", None)


def test_what_is_read_is_markdown_before_plain_text():
    assert Display({"text/plain": b"p", "text/markdown": b"m"}).text == "m"
    assert Display({"text/html": b"<b>\xff"}).text is None
    assert Display({"text/html": b"<b>\xff"}).html == "<b>\\xff"


@pytest.mark.parametrize(
    ("data", "mark"),
    [
        ({"text/plain": b"p"}, ""),
        ({"text/markdown": b"m", "text/plain": b"p"}, ""),
        (FIGURE, "[image/png 640x480, 28 bytes]"),
        (
            {"text/html": b"x" * 1234, "image/png": b""},
            "[image/png, 0 bytes; text/html, 1,234 bytes]",
        ),
        ({"image/png": PICTURE[:23]}, "[image/png, 23 bytes]"),
        ({"image/png": b"x" + PICTURE[1:]}, "[image/png, 28 bytes]"),
        ({"image/jpeg": PICTURE}, "[image/jpeg, 28 bytes]"),
    ],
)
def test_the_mark_says_what_cannot_be_read(data, mark):
    assert Display(data).mark() == mark


@given(st.dictionaries(st.sampled_from(["image/png", "text/html", "a/b"]), st.binary()))
def test_the_mark_of_any_bytes_is_one_short_line(data):
    mark = Display(data).mark()
    assert mark.isprintable()
    assert len(mark) < 100


def test_a_form_is_saved_by_the_ending_of_the_name(tmp_path):
    shown = Display({**FIGURE, "image/jpeg": b"j"})
    for name, data in (("a.png", PICTURE), ("a.TXT", b"<Figure>"), ("a.jpeg", b"j")):
        shown.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
    shown.save(str(tmp_path / "text.png"))


@pytest.mark.parametrize("name", ["a.svg", "a.exe", "a", ".png/a"])
def test_an_ending_without_a_form_is_refused_and_says_which_there_are(tmp_path, name):
    told = re.escape("it has image/png (.png), text/plain (.txt), x/y (in `data`)")
    with pytest.raises(agent_client.InvalidRequest, match=told):
        Display({**FIGURE, "x/y": b""}).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_all_forms_that_have_an_ending_are_saved_under_one_name(tmp_path):
    paths = Display({**FIGURE, "x/../y": b"no"}).save_all(tmp_path, "cell-1-1")
    assert [path.name for path in paths] == ["cell-1-1.png", "cell-1-1.txt"]
    assert sorted(os.listdir(tmp_path)) == ["cell-1-1.png", "cell-1-1.txt"]


def test_a_link_that_lies_where_a_form_is_saved_is_replaced_and_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    place = tmp_path / "to"
    place.mkdir()
    (place / "c.png").symlink_to(kept)
    (place / "c.txt").write_text("older")
    Display(FIGURE).save_all(place, "c")
    assert kept.read_text() == "as it was"
    assert (place / "c.png").read_bytes() == PICTURE
    assert (place / "c.txt").read_bytes() == b"<Figure>"


# ---- in an observation ---------------------------------------------------------------------------


def test_displays_are_fields_of_the_observation_in_order(session):
    observation = session.run("figures")
    assert observation.displays == (Display(FIGURE), Display(FIGURE))
    assert observation.display_places == (1, 2)
    assert observation.chunks == (
        (Stream.STDOUT, "one\n"),
        (Stream.STDOUT, "two\n"),
        (Stream.STDERR, "err\n"),
    )
    assert observation.stdout == "one\ntwo\n"
    assert not observation.truncated


def test_a_cell_that_shows_nothing_has_no_displays(session):
    assert session.run("both").displays == ()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("figures", f"one\n{FIGURE_TEXT}\ntwo\n{FIGURE_TEXT}\nerr\n7"),
        ("table", "   a\n0  1\n[text/html, 11 bytes]"),
        ("markdown", "# A note"),
        ("picture alone", "no end of line\n[image/png, 10 bytes]"),
        ("shown and failed", f"{FIGURE_TEXT}\n{scripts.ERROR.traceback.rstrip()}"),
        (
            "not shown",
            "hi\n[output truncated: something to display had no room left in the policy's limit]",
        ),
    ],
)
def test_the_text_for_a_model_says_what_was_shown_where_it_was_shown(session, code, text):
    assert session.run(code).text == text


def test_displays_are_events_of_a_stream(session):
    kinds = [type(event) for event in session.stream("figures")]
    assert kinds == [Started, Output, Display, Output, Display, Output, Value, Ended]


def test_what_is_shown_is_handed_over_as_it_comes(session):
    seen = []
    session.run(
        "figures", on_output=lambda _, text: seen.append(text), on_display=lambda _: seen.append(0)
    )
    assert seen == ["one\n", 0, "two\n", 0, "err\n"]


def test_the_client_for_asyncio_hands_it_over_as_well(server):
    async def scenario():
        seen = []
        async with agent_client.connect_async(server.address) as cage, cage.session() as session:
            observation = await session.run("figures", on_display=seen.append)
        assert tuple(seen) == observation.displays

    asyncio.run(scenario())


# ---- for people and for programs -----------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(session, code, kind=io.StringIO):
    out, err = kind(), kind()
    printer = Printer(out, err)
    printer.finish(session.run(code, on_output=printer.output))
    return out.getvalue(), err.getvalue()


def test_what_was_shown_is_printed_after_the_output_and_a_value_once(session):
    mark = "[image/png 640x480, 28 bytes]\n"
    assert printed(session, "figures") == (
        "one\ntwo\n<Figure>\n<Figure>\n7\n",
        f"err\n{mark}{mark}",
    )
    assert printed(session, "table") == ("   a\n0  1\n", "[text/html, 11 bytes]\n")


def test_what_is_printed_as_it_comes_is_not_printed_again(session):
    out, err = io.StringIO(), io.StringIO()
    printer = Printer(out, err)
    observation = session.run("figures")
    printer.display(observation.displays[0])
    printer.display(observation.displays[1])
    before = out.getvalue(), err.getvalue()
    printer.finish(observation)
    assert (out.getvalue(), err.getvalue()) == (f"{before[0]}7\n", before[1])


def test_texts_of_displays_are_escaped_on_a_terminal(session):
    shown = Display({"text/plain": b"\x1b[2J"})
    out, err = Terminal(), Terminal()
    Printer(out, err).display(shown)
    assert (out.getvalue(), err.getvalue()) == ("\\x1b[2J\n", "")


def test_json_has_texts_as_they_are_and_all_else_in_base64(session):
    found = json.loads(report.observation_json(session.run("table")))
    assert found["displays"] == [{"text/html": "<table>\x1b[2J", "text/plain": "   a\n0  1"}]
    found = json.loads(report.observation_json(session.run("picture alone")))
    assert found["displays"] == [{"image/png": base64.b64encode(b"no picture").decode()}]
    assert json.loads(report.observation_json(session.run("pass")))["displays"] == []


def test_displays_of_a_cell_are_saved_by_its_number_and_theirs(session, tmp_path):
    directory = tmp_path / "new" / "folder"
    save_displays(session.run("figures"), directory, 3)
    assert sorted(os.listdir(directory)) == [
        "cell-3-1.png",
        "cell-3-1.txt",
        "cell-3-2.png",
        "cell-3-2.txt",
    ]
    assert (directory / "cell-3-2.png").read_bytes() == PICTURE


def test_a_folder_for_displays_that_cannot_be_made_is_wrong_usage(session, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(agent_client.InvalidRequest, match="--displays .*file: "):
        save_displays(session.run("figures"), tmp_path / "file", 1)
