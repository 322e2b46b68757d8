"""
What the pages say, read as HTML: sessions, one session, one decision, a search. Hostile texts are
shown and never obeyed.

What green does not prove: how a browser paints it; `tests/e2e/test_review_in_a_browser.py` asks one.
"""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from pages_world import CHANGES, HOSTILE, HOSTILE_ID, ODD_ID, SESSION

from executor.audit.escape import visible
from executor.audit.record import Event, Record, bounded
from executor.audit.review.html import block
from executor.audit.review.search import Page, Step
from executor.review.charts import Measure
from executor.review.gathering import MOST_TEXT, fitting

PAGES = ["/", "/?denied=1", "/search", "/readers", f"/session/{SESSION}", f"/session/{HOSTILE_ID}"]
PLACED = {
    "sequence": 1,
    "wall_ns": 0,
    "monotonic_ns": 0,
    "ordinal": None,
    **dict.fromkeys(("previous", "hash", "root"), bytes(32)),
}
VOID = {"meta", "link", "input", "img"}


class Read(HTMLParser):
    """
    A page as its elements, attributes and texts.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.codes, self.words, self._open = [], [], [], "", []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "code":
            self.codes.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        if self._open[-1:] == ["code"]:
            self.codes[-1] += data
        self.words += data


def shown(world, place):
    answer = world.get(place)
    assert answer.status == 200, answer.text
    return Read(answer.text)


def links(read):
    return [value for tag, name, value in read.attributes if (tag, name) == ("a", "href")]


def test_the_list_shows_the_newest_session_first_with_its_denials(world):
    read = shown(world, "/")
    places = [place for place in links(read) if place.startswith("/session/")]
    assert places == ["/session/@58", f"/session/{HOSTILE_ID}", f"/session/{SESSION}"]
    assert "1 denied to clients who got no session." in " ".join(read.words.split())
    assert f"/session/{SESSION}" in links(shown(world, "/?named=5e55"))
    assert world.get("/?named=none").status == 404
    assert len([one for one in links(shown(world, "/?denied=1")) if "/session/" in one]) == 2


def test_a_session_shows_what_was_denied_done_and_used(world):
    read = shown(world, f"/session/{SESSION}")
    for text in ("read /drop/secrets/api.key", "books.yaml:8", "call search(limit=2)"):
        assert text in read.codes
    assert "api.example.com" in read.codes
    assert "/record/6" in links(read)
    assert "120 bytes, SHA-256" in read.words
    assert "40 bytes to stdout" in read.words
    assert "no replay" in read.words
    pictures = [value for tag, name, value in read.attributes if (tag, name) == ("img", "src")]
    assert f"/session/{SESSION}/wall.svg" in pictures
    for picture in pictures:
        svg = world.get(picture).text
        assert svg.startswith("<svg ")
        assert "<script" not in svg
        assert "href" not in svg


def test_a_commit_shows_its_changes_with_their_digests(world):
    read = shown(world, f"/session/{SESSION}")
    for change in CHANGES:
        assert change.path in read.codes
    assert r"no\u202ete.txt" in read.codes
    assert "ab" * 32 in read.codes
    assert "there is no diff" in read.words


def test_a_decision_shows_the_policy_with_its_line_marked(world):
    answer = world.get("/record/6").text
    marked = answer.partition('<mark id="rule">')[2].partition("</mark>")[0]
    assert marked.strip().startswith("8")
    assert "Keys are not for agents." in marked
    read = Read(answer)
    assert "description: Reads the drop." in read.words
    assert "denied, by rule deny[0] at books.yaml:8" in read.words


def test_an_outcome_leads_to_its_decision_and_another_version_explains_nothing(world):
    read = shown(world, "/record/5")
    assert "Allowed" in read.words
    assert "read /drop/report.csv" in read.codes
    other = shown(world, "/record/15")
    assert "rule" not in [value for _, name, value in other.attributes if name == "id"]


def test_what_is_no_decision_is_shown_as_it_was_recorded(world):
    read = shown(world, "/record/3")
    assert "cell.start" in read.words
    assert "Why" not in read.words


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("session=5e55&path=/drop/secrets/**", ["/record/6"]),
        ("host=*.example.com&decision=deny", ["/record/7"]),
        ("kind=call", ["/record/8"]),
        ("text=report", ["/record/4"]),
        ("session=5e55&decision=deny", ["/record/7", "/record/6"]),
        ("session=none&decision=deny", ["/record/13"]),
        ("since=9999-01-01", []),
        ("until=0001-01-01", []),
        ("session=5e55&path=/nowhere/**", []),
    ],
)
def test_a_search_finds_what_is_asked_for_the_newest_first(world, query, found):
    places = links(shown(world, f"/search?{query}"))
    assert [place for place in places if place.startswith("/record/")] == found


@pytest.mark.parametrize(
    "query",
    [
        "path=relative",
        "path=/[",
        "kind=none",
        "decision=perhaps",
        "since=yesterday",
        "host=a/b",
        "before=x",
        "before=" + "9" * 30,
        "text=" + "x" * 600,
    ],
)
def test_a_search_that_is_not_understood_says_so(world, query):
    assert world.get(f"/search?{query}").status == 400


def test_pages_go_on_where_the_one_before_ended(world):
    whole = shown(world, "/search?session=5e55")
    rows = [place for place in links(whole) if place.startswith("/record/")]
    rest = shown(world, f"/search?session=5e55&before={rows[2].rpartition('/')[2]}")
    assert [place for place in links(rest) if place.startswith("/record/")] == rows[3:]
    later = shown(world, f"/session/{SESSION}?after=8")
    assert "call search(limit=2)" not in later.codes
    assert "commit /ledger" in later.codes


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text[:12]) for text in HOSTILE])
def test_a10_a_hostile_text_is_shown_and_never_obeyed(world, text):
    read = shown(world, f"/session/{HOSTILE_ID}")
    wanted = visible(bounded(f"read /{text}"))
    assert sum(code == wanted for code in read.codes) >= 2


@pytest.mark.parametrize("place", [*PAGES, "/search?session=bad1", "/record/14", "/record/15"])
def test_a10_no_page_holds_what_could_act(world, place):
    answer = world.get(place)
    assert answer.status == 200
    assert all(line.isprintable() or line.isspace() for line in answer.text.splitlines())
    assert len(answer.text) < 1_000_000
    read = Read(answer.text)
    assert not {"script", "style", "iframe", "object", "embed", "base", "svg"} & set(read.tags)
    assert not [one for one in read.attributes if one[1].startswith("on") or one[1] == "style"]
    for tag, name, value in read.attributes:
        if name in {"href", "src", "action"}:
            assert value.startswith(("/", "#")), (tag, value)
            assert not value.startswith("//")
    guests = [value for tag, name, value in read.attributes if (tag, name) == ("code", "dir")]
    assert set(guests) <= {"ltr"}


def test_a10_every_record_of_a_hostile_session_has_a_page(world):
    for sequence in range(14, 59):
        read = shown(world, f"/record/{sequence}")
        assert not {"script", "style", "iframe"} & set(read.tags)


def test_code_is_not_shown_where_nobody_has_asked_for_it(world):
    answer = world.get(f"/session/{SESSION}/cells")
    assert answer.status == 404
    assert "--code" in answer.text


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a\n\tb\\n", "a\n\tb\\n"),
        ("\x1b[31m", r"<i>\x1b</i>[31m"),
        ("\u202e\u200fgpj", r"<i>\u202e\u200f</i>gpj"),
        (r"\u202e", r"\u202e"),
        ("<i>x</i>&\"'", "&lt;i&gt;x&lt;/i&gt;&amp;&quot;&#x27;"),
        ("e\u0301", r"e<i>\u0301</i>"),
        ("\r\0\ud800", r"<i>\r\x00\ud800</i>"),
        ("</pre><script>", "&lt;/pre&gt;&lt;script&gt;"),
    ],
)
def test_a10_a_block_of_text_is_as_it_is_and_its_escapes_are_marked(words, shown):
    assert block(words) == f'<pre dir="ltr" tabindex="0">{shown}</pre>'


def test_a_session_with_an_odd_name_has_a_page_by_its_first_record(world):
    read = shown(world, "/session/@58")
    assert visible(ODD_ID) in " ".join([*read.codes, read.words])
    assert world.get(f"/session/{quote(ODD_ID, errors='replace')}").status == 404
    for key in ("@57", "@", "@x", "@99999999999999999999", "@1"):
        assert world.get(f"/session/{key}").status == 404


@pytest.mark.parametrize(
    "place",
    ["/session/none-such", "/record/0", "/record/9999", "/nope", "/session/..%2f..%2fetc", "/%00"],
)
def test_what_is_not_there_is_said_and_recorded(world, place):
    assert world.get(place).status == 404


def test_ten_megabytes_are_shown_as_their_beginning_and_digest(world):
    read = shown(world, f"/session/{HOSTILE_ID}")
    large = f"read /{HOSTILE[-1]}"
    mark = f"\\cut{{{len(large)} bytes, sha256 {hashlib.sha256(large.encode()).hexdigest()}}}"
    assert any(code.endswith(mark) for code in read.codes)


def test_a_page_of_long_texts_ends_early_and_goes_on():
    long = Record(
        event=Event.WORKER_NOTE,
        detail=tuple((f"{place:02}", "z" * 4096) for place in range(32)),
        **PLACED,
    )
    steps = tuple(Step(replace(long, sequence=number)) for number in range(1, 21))
    first = fitting(Page(steps, 20, ended=True))
    assert (len(first.steps), first.reached, first.ended) == (7, 7, False)
    assert fitting(Page(steps[:7], 7, ended=True)).ended
    one = Record(event=Event.DECISION, request="z" * 2 * MOST_TEXT, **PLACED)
    assert fitting(Page((Step(one),), 1, ended=True)).ended


def test_a_record_that_is_not_whole_is_said_on_every_page(world, tmp_path):
    from tests.reviewing import reviewing

    copy = tmp_path / "state"
    copy.mkdir(mode=0o700)
    with closing(sqlite3.connect(world.audit)) as db:
        db.execute("VACUUM INTO ?", (str(copy / "audit.sqlite3"),))
    with closing(sqlite3.connect(copy / "audit.sqlite3")) as db, db:
        db.execute("UPDATE record SET answer = 'allow' WHERE sequence = 6")
    with reviewing(copy / "audit.sqlite3", tmp_path) as review:
        answer = review.get("/")
        # The verdict may come while a page is made: its rows and its foot are of this or that.
        while "is being verified" in answer.text or "not verified yet" in answer.text:
            answer = review.get("/")
        assert "NOT WHOLE, first bad record: 6" in answer.text
        assert 'class="badge bad">not whole from record 6' in answer.text


@pytest.mark.parametrize("how", ["mode=ro", "immutable=1"])
def test_the_store_is_opened_by_other_programs_as_it_is(world, how):
    """
    Datasette and the like read tables; what they need is a plain SQLite file.
    """
    with closing(sqlite3.connect(f"file:{world.audit}?{how}", uri=True)) as db:
        tables = {
            name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")
        }
        assert {"record", "meta", "tile"} <= tables
        for table in tables:
            columns = db.execute(f"PRAGMA table_info({table})").fetchall()
            rows = db.execute(f"SELECT * FROM {table} LIMIT 100").fetchall()
            assert {len(row) for row in rows} <= {len(columns)}
        query = "SELECT event, count(*) FROM record WHERE answer = 'deny' GROUP BY event"
        assert dict(db.execute(query)) == {"decision": 3 + len(HOSTILE)}


def test_every_measure_has_a_picture(world):
    for measure in Measure:
        assert world.get(f"/session/{SESSION}/{measure.value}.svg").status == 200
