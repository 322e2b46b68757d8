"""
`codecage audit report`: a session as one file for a browser, in which nothing of a guest acts.

What green does not prove: how a browser paints it. The page is read here with an HTML parser, as
elements and attributes, and what a browser may load or run is bounded by them and by the policy.
"""

import base64
import hashlib
import json
import os
import stat
from html.parser import HTMLParser

import pytest
from audit_world import SESSION, draft, tamper
from review_world import HOSTILE, OTHER, asked, fill, hostile_world, run, world

from executor.audit.escape import visible
from executor.audit.record import Answer, Event, bounded
from executor.audit.review import sheet

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "dl", "dt"),
    *("dd", "code", "strong", "table", "thead", "tbody", "tr", "th", "td"),
    "section",
}
ATTRIBUTES = {"lang", "charset", "http-equiv", "name", "content", "class", "dir"}


class Read(HTMLParser):
    """
    A page as its elements, attributes and texts; the texts of `code` elements on their own.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.codes, self.style = [], [], [], ""
        self._open = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag != "meta":
            self._open.append(tag)
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["style"]:
            self.style += data
        elif self._open[-1:] == ["code"]:
            self.codes[-1] += data
        self.words += data


def written(path, place, *options, session=SESSION):
    status = run("report", session, "--html", place, "--audit", path, *options)
    return status, Read(place.read_text(encoding="utf-8"))


@pytest.fixture
def place(tmp_path):
    return tmp_path / "report.html"


def test_the_page_shows_the_session_its_denials_and_whether_the_record_is_whole(
    path, place, capsys
):
    head = fill(path, world())
    status, read = written(path, place, "--head", head)
    assert status == 0
    assert capsys.readouterr().out.splitlines() == [
        f"whole: 16 records, head {head}",
        f"written: {place}",
    ]
    assert f"whole: 16 records, head {head}" in read.words
    assert "Denied: 1" in read.words
    for text in ("read /data/keys/id.pem", "notebook.yaml:14", "api.example.com", SESSION):
        assert text in read.codes
    assert "write /data/b.csv" not in read.words
    assert ("class", "verdict whole") in read.attributes
    assert ("class", "denied") in read.attributes


def test_the_page_of_a_record_that_is_not_whole_says_so_and_is_1(path, place, capsys):
    fill(path, world())
    tamper(path, ("UPDATE record SET answer = 'allow' WHERE sequence = 6", ()))
    status, read = written(path, place)
    assert status == 1
    assert "NOT WHOLE, first bad record: 6" in read.words
    assert ("class", "verdict broken") in read.attributes
    assert "NOT WHOLE" in capsys.readouterr().out


@pytest.mark.parametrize("text", HOSTILE)
def test_a10_a_hostile_text_is_shown_and_never_obeyed(path, place, text):
    fill(
        path,
        [
            draft(Event.SESSION_CREATE, detail=(("policy", text), ("labels", text))),
            asked(f"read /{text}", Answer.DENY, rule=text, rule_place=text),
            asked(f"connect {text}:80"),
            draft(Event.OUTCOME, refers=3, outcome=text),
            draft(Event.CELL_END, cell=1, outcome=text, detail=((text[:100], text),)),
        ],
    )
    _, read = written(path, place)
    shown = visible(bounded(text))
    assert sum(shown in code for code in read.codes) >= 5
    assert visible(bounded(f"read /{text}")) in read.codes
    check_harmless(place, read)


def test_a10_a_session_of_nothing_but_hostile_texts_is_a_page(path, place):
    fill(path, hostile_world())
    check_harmless(place, written(path, place)[1])


def test_a_host_s_bytes_are_those_of_all_its_connections_and_counted_once(path, capsys):
    fill(
        path,
        [
            draft(Event.SESSION_CREATE),
            asked("connect h:443"),
            draft(Event.OUTCOME, refers=2, outcome="ok", size=30),
            asked("connect H:443"),
            asked("GET https://h:443/"),
            draft(Event.OUTCOME, refers=5, outcome="ok", size=5),
            draft(Event.OUTCOME, refers=4, outcome="ok", size=12),
        ],
    )
    assert run("report", SESSION, "--json", "--audit", path) == 0
    assert json.loads(capsys.readouterr().out)["hosts"] == {
        "h": {"allowed": 3, "denied": 0, "bytes": 42}
    }


def test_a10_a_session_that_somebody_has_given_a_hostile_name_is_a_page(path, place):
    name = "</title>\x1b[2J\u202e"
    fill(path, [draft(Event.SESSION_CREATE, session=name)])
    check_harmless(place, written(path, place, session=name)[1])


def check_harmless(place, read):
    text = place.read_text(encoding="utf-8")
    assert all(line.isprintable() for line in text.splitlines())
    assert set(read.tags) <= TAGS
    assert read.attributes.count(("dir", "ltr")) == read.tags.count("code")
    assert {name for name, _ in read.attributes} <= ATTRIBUTES
    digest = base64.b64encode(hashlib.sha256(read.style.encode()).digest()).decode()
    assert _policy(read) == (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    )
    assert "url(" not in read.style
    assert "@import" not in read.style


def _policy(read):
    place = read.attributes.index(("http-equiv", "Content-Security-Policy"))
    name, value = read.attributes[place + 1]
    assert name == "content"
    return value


def test_ten_megabytes_of_a_guest_are_a_small_page(path, place):
    large = "<b>" * 3_500_000
    fill(path, [draft(Event.SESSION_CREATE), asked(f"read /{large}", Answer.DENY)])
    _, read = written(path, place)
    assert place.stat().st_size < 100_000
    digest = hashlib.sha256(f"read /{large}".encode()).hexdigest()
    mark = f"\\cut{{{len(large) + 6} bytes, sha256 {digest}}}"
    assert any(code.endswith(mark) for code in read.codes)


def test_what_does_not_fit_is_counted_and_named(path, place, monkeypatch):
    monkeypatch.setattr(sheet, "MAX_LISTED", 3)
    monkeypatch.setattr(sheet, "MAX_ROWS", 5)
    denials = [asked(f"read /{n}", Answer.DENY) for n in range(9)]
    fill(path, [draft(Event.SESSION_CREATE), *denials])
    _, read = written(path, place)
    assert "Denied: 9" in read.words
    assert "first 3 denials" in read.words
    assert "first 5 records" in read.words
    assert "from --after 4" in read.words


def test_a_session_that_asked_for_nothing_has_a_page_that_says_so(path, place):
    fill(path, [draft(Event.SESSION_CREATE)])
    _, read = written(path, place)
    for said in (
        "Nothing was denied.",
        "nothing of the network",
        "No cell has ended.",
        "it goes on",
    ):
        assert said in read.words


def test_the_page_is_its_owners_alone_and_replaces_the_one_before_whole(path, place):
    fill(path, world())
    place.write_text("before")
    place.chmod(0o644)
    written(path, place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert set(os.listdir(place.parent)) == {place.name, "state"}


def test_a_link_in_the_pages_place_is_replaced_and_not_followed(path, place, tmp_path):
    fill(path, world())
    target = tmp_path / "target"
    target.write_text("keep")
    place.symlink_to(target)
    written(path, place)
    assert target.read_text() == "keep"
    assert not place.is_symlink()


def test_a_page_that_cannot_be_written_leaves_nothing_and_is_1(path, tmp_path, capsys):
    fill(path, world())
    taken = tmp_path / "taken"
    taken.mkdir()
    assert run("report", SESSION, "--html", taken, "--audit", path) == 1
    assert "taken" in capsys.readouterr().err
    assert set(os.listdir(tmp_path)) == {"taken", "state"}


def test_a_dash_is_stdout(path, capsys):
    fill(path, world())
    assert run("report", OTHER, "--html", "-", "--json", "--audit", path) == 0
    out, err = capsys.readouterr()
    assert out.startswith("<!doctype html>\n<html")
    assert out.endswith("</html>\n")
    assert json.loads(err)["whole"] is True


@pytest.mark.parametrize("session", ["none", "feedface"])
def test_what_is_no_session_has_no_page(path, place, session, capsys):
    fill(path, world())
    assert run("report", session, "--html", place, "--audit", path) == 1
    assert not place.exists()
    assert "session" in capsys.readouterr().err


def test_a_session_whose_beginning_is_not_there_has_no_page(path, place, capsys):
    fill(path, [asked("read /x")])
    assert run("report", SESSION, "--html", place, "--audit", path) == 1
    assert "no beginning of session" in capsys.readouterr().err


def test_without_a_page_the_report_is_what_one_has_to_know(path, capsys, expected):
    fill(path, [*world(), draft(Event.DROPPED, detail=(("deny read", 7),))])
    assert run("report", SESSION, "--audit", path) == 0
    expected("report", capsys.readouterr().out.split("\n", 4)[-1])


def test_as_json_the_report_has_the_verdict_the_denials_and_the_hosts(path, capsys):
    head = fill(path, world())
    assert run("report", SESSION, "--json", "--head", head, "--audit", path) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"]["whole"] is True
    assert found["verdict"]["unanchored_since"] is None
    assert found["denials"] == [
        {
            "sequence": 6,
            "cell": 1,
            "request": "read /data/keys/id.pem",
            "rule": "filesystem[0]",
            "rule_place": "notebook.yaml:14",
            "reason": "because of it",
        }
    ]
    assert found["hosts"] == {"api.example.com": {"allowed": 2, "denied": 0, "bytes": 30}}


def test_a10_the_report_for_a_terminal_has_no_control_character(path, capsys):
    fill(path, hostile_world())
    assert run("report", SESSION, "--audit", path) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
