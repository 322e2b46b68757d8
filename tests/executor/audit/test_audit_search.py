"""
Filters: each finds what it says and nothing else, page by page, an outcome with its decision.
"""

import pytest
from audit_world import SESSION, append_all, draft, tamper
from hypothesis import given
from hypothesis import strategies as st
from review_world import OTHER, START, asked, fill, run, world

from executor.audit.errors import AuditDamaged
from executor.audit.record import Answer, Cut, Event, Origin, bounded
from executor.audit.review import search
from executor.audit.review.asked import KINDS, Asked, asked_of
from executor.audit.review.filters import Filter, Outside, _pieces
from executor.audit.review.options import moment_ns
from executor.audit.review.search import (
    Outcomes,
    find,
    latest,
    latest_sessions,
    newest,
    session_named,
)
from executor.audit.store import AuditStore
from policy.globs import GlobSet, glob_problem
from policy.requests import _KINDS, FileAction

SECOND = 10**9


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "state" / "audit.sqlite3"
    fill(path, world())
    return path


def found(log, **fields):
    page = find(log, Filter(**fields), outcomes=Outcomes.ALONE)
    assert page.ended
    return [step.record.sequence for step in page.steps]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"session": OTHER}, [12, 13, 15]),
        ({"session": Outside.SESSIONS}, [1, 14]),
        ({"answer": Answer.DENY}, [6, 14]),
        ({"answer": Answer.ALLOW}, [4, 5, 7, 8, 9, 13, 15]),
        ({"answer": Answer.DENY, "session": SESSION}, [6]),
        ({"kinds": frozenset({"read"})}, [4, 5, 6]),
        ({"kinds": frozenset({"connect", "image"})}, [7, 8, 14]),
        ({"kinds": frozenset({"http"})}, [9]),
        ({"kinds": frozenset({"mkdir"})}, []),
        ({"path": "/data/**/*.csv"}, [4, 5, 13, 15]),
        ({"path": "/data/keys"}, [6]),
        ({"path": "/data"}, [4, 5, 6, 13, 15]),
        ({"path": "/data/?.csv", "session": OTHER}, [13, 15]),
        ({"path": "/v1"}, []),
        ({"host": "api.example.com"}, [7, 8, 9]),
        ({"host": "*.EXAMPLE.com"}, [7, 8, 9]),
        ({"host": "example.com"}, []),
        ({"host": "api.example.com", "kinds": frozenset({"connect"})}, [7, 8]),
        ({"since_ns": START + 13 * SECOND}, [14, 16]),
        ({"since_ns": 2**70}, []),
        ({"since_ns": -(2**70)}, list(range(1, 17))),
        ({"until_ns": 2**70}, list(range(1, 17))),
        ({"until_ns": -(2**70)}, []),
        ({"until_ns": START + 2 * SECOND}, [1, 2]),
        ({"since_ns": START + 6 * SECOND, "until_ns": START + 7 * SECOND}, [7, 8]),
        ({"text": "a.csv"}, [4, 5]),
        ({"text": "Example.com:443"}, [7, 8]),
        ({"text": "A.CSV"}, []),
        ({"text": "/data", "session": OTHER}, [13, 15]),
        ({"origin": Origin.WORKER}, [10]),
        ({"origin": Origin.SUPERVISOR}, [13, 15]),
    ],
)
def test_a_filter_finds_what_it_names_and_outcomes_by_their_decisions(log, fields, expected):
    assert found(log, **fields) == expected


def test_folded_outcomes_come_with_their_decisions_and_not_alone(log):
    steps = find(log, Filter(session=SESSION)).steps
    assert [step.record.sequence for step in steps] == [2, 3, 4, 6, 7, 9, 10, 11, 16]
    assert {s.record.sequence: s.outcome.sequence for s in steps if s.outcome} == {4: 5, 7: 8}


def test_an_outcome_without_its_decision_is_not_folded_away(path):
    fill(path, [draft(Event.SESSION_CREATE), draft(Event.OUTCOME, refers=77, outcome="ok")])
    assert [step.record.sequence for step in find(path).steps] == [1, 2]


def test_pages_put_together_are_the_whole(log):
    after, gathered = 0, []
    while True:
        page = find(log, Filter(kinds=frozenset({"read", "connect"})), after=after, limit=2)
        gathered += [step.record.sequence for step in page.steps]
        if page.ended:
            break
        after = page.reached
    assert gathered == [4, 6, 7]


def test_a_search_in_vain_stops_and_says_where(log, monkeypatch):
    monkeypatch.setattr(search, "MAX_LOOKED", 2)
    # Its bytes hold the host, and none of the records is about it.
    fields = {"origin": Origin.WORKER, "kinds": frozenset({"read"})}
    assert find(log, Filter(**fields)).ended
    page = find(log, Filter(host="example.com"))
    assert (page.steps, page.ended, page.reached) == ((), False, 9)
    assert find(log, Filter(host="example.com"), after=9).ended


def test_the_newest_are_the_last_in_order(log):
    assert [step.record.sequence for step in newest(log, limit=3).steps] == [14, 15, 16]
    only = newest(log, Filter(session=OTHER), limit=2)
    assert [step.record.sequence for step in only.steps] == [13, 15]
    assert only.reached == 16
    assert only.steps[1].decision.request == "write /data/b.csv"


def test_a_session_is_found_by_a_beginning_that_is_its_alone(log, path):
    assert session_named(log, "5e55") == SESSION
    assert session_named(log, OTHER) == OTHER
    with pytest.raises(LookupError, match="no record of session 5e5$"):
        session_named(log, "5e5")
    fill(path, [draft(session=name) for name in ("abcdx1", "abcdx2", "abcd")])
    assert session_named(path, "abcd") == "abcd"
    with pytest.raises(LookupError, match="several sessions begin with abcdx"):
        session_named(path, "abcdx")
    with pytest.raises(LookupError, match="no record of session abce"):
        session_named(path, "abce")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("read /a b", Asked("read", path="/a b", rest="/a b")),
        ("read /https://x", Asked("read", path="/https://x", rest="/https://x")),
        ("connect [::1]:443", Asked("connect", host="::1", port=443, rest="[::1]:443")),
        ("connect h:0443999", Asked("connect", host="h", rest="h:0443999")),
        ("resolve a:b", Asked("resolve", host="a:b", rest="a:b")),
        ("dial h:1 at ::1", Asked("dial", host="h", port=1, rest="h:1 at ::1")),
        (
            "GET https://h:1/p?q",
            Asked("http", path="/p?q", host="h", port=1, method="GET", rest="https://h:1/p?q"),
        ),
        ("run /bin/ls", Asked("run", rest="/bin/ls")),
        ("run https://x", Asked("run", rest="https://x")),
        ("connect https://x:1", Asked("connect", host="https://x", port=1, rest="https://x:1")),
        (
            "read https://x:1",
            Asked("http", path="", host="x", port=1, method="read", rest="https://x:1"),
        ),
        ("commit /work", Asked("commit", path="/work", rest="/work")),
        ("call find(limit=5)", Asked("call", rest="find(limit=5)")),
        ("read x", Asked("", rest="x")),
        ("", Asked("")),
    ],
)
def test_a_request_is_read_back(text, expected):
    assert asked_of(text) == expected


def test_every_kind_of_request_can_be_asked_for():
    assert set(_KINDS.values()) | {action.value for action in FileAction} <= set(KINDS)


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_breaks_the_reading_of_requests(text):
    assert asked_of(text).kind in {"", *KINDS}
    connection = asked_of(f"connect {text}")
    assert (connection.kind, connection.rest) == ("connect", text)
    assert connection.host in text
    http = asked_of(f"GET https://{text}")
    assert (http.kind, http.method, http.rest) == ("http", "GET", f"https://{text}")
    assert http.host in text
    assert http.path in text


components = st.text("ab.*?", min_size=1, max_size=4).filter(lambda part: "**" not in part)


@given(
    st.lists(st.one_of(components, st.just("**")), min_size=1, max_size=4),
    st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_what_is_looked_for_first_is_in_every_path_that_the_glob_matches(glob, path):
    pattern, name = "/".join(glob), "/".join(path)
    if glob_problem(pattern) is None and GlobSet((pattern,)).match(name) is not None:
        assert all(piece in f"/{name}" for piece in _pieces(f"/{pattern}"))


def test_a_cut_path_is_found_where_it_could_match_and_not_elsewhere(path):
    long = f"read /data/{'d' * 200}/" + "x" * 9000
    fill(path, [draft(Event.SESSION_CREATE), asked(long), asked("read /other/y")])
    assert isinstance(bounded(long), Cut)
    assert found(path, path="/data/**/secret.key") == [2]
    assert found(path, path="/data") == [2]
    assert found(path, path="/data/*/*/*/secret.key") == [2]
    assert found(path, path="/other/*") == [3]
    assert found(path, path="/another") == []


def test_lone_surrogates_can_be_looked_for(path):
    fill(path, [draft(Event.SESSION_CREATE), asked("read /data/\ud800.csv")])
    assert found(path, path="/data/\ud800.csv") == [2]


def test_what_is_written_meanwhile_is_on_the_next_page(path):
    fill(path, world())
    with AuditStore.open(path) as store:
        # What opening has added, for a session was left open, is behind us.
        seen = newest(path, limit=1)
        append_all(store, [asked("read /later", session=OTHER)])
        more = find(path, after=seen.reached, outcomes=Outcomes.ALONE)
        assert [step.record.request for step in more.steps] == ["read /later"]
        assert find(path, after=more.reached, outcomes=Outcomes.ALONE).steps == ()


@pytest.mark.parametrize(
    "text", ["2026-01-31T13:30+01:30", "2026-01-31T12:00:00Z", "2026-01-31T12"]
)
def test_a_time_is_of_its_zone_and_else_of_utc(text):
    assert moment_ns(text) == 1_769_860_800 * SECOND


@pytest.mark.parametrize("bad", ["data", "/a[b]", "/", "/a//b", "/x**"])
def test_a_glob_that_is_none_is_usage(bad, capsys):
    with pytest.raises(SystemExit) as stop:
        run("tail", "--path", bad)
    assert stop.value.code == 2
    assert "argument --path" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad",
    [
        ("--since", "yesterday"),
        ("--until", "2026-13-01"),
        ("--kind", "eat"),
        ("--decision", "no"),
        ("--host", "a b"),
        ("--origin", "me"),
    ],
)
def test_a_filter_that_is_none_is_usage(bad, capsys):
    with pytest.raises(SystemExit) as stop:
        run("list", *bad)
    assert stop.value.code == 2
    assert f"argument {bad[0]}" in capsys.readouterr().err


def test_a_damaged_record_is_told_and_not_skipped(log, path):
    fill(path, world())
    tamper(path, ("UPDATE record SET body = zeroblob(90) WHERE sequence = 6", ()))
    with pytest.raises(AuditDamaged, match="record 6"):
        find(path)


def test_a_record_that_is_not_even_bytes_is_told_and_not_skipped(path):
    fill(path, world())
    tamper(path, ("UPDATE record SET body = CAST(body AS TEXT) WHERE sequence = 6", ()))
    with pytest.raises(AuditDamaged, match="codecage audit verify"):
        find(path)


def newest_first(log, **fields):
    """
    The same filter from the newest back, three at a time.
    """
    before, sequences = None, []
    while True:
        page = latest(log, Filter(**fields), before=before, limit=3)
        sequences += [step.record.sequence for step in page.steps]
        if page.ended:
            return sequences
        before = page.reached


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"session": SESSION},
        {"session": OTHER},
        {"session": Outside.SESSIONS},
        {"answer": Answer.DENY},
        {"answer": Answer.ALLOW, "session": SESSION},
        {"path": "/data/**", "session": SESSION},
        {"host": "*.example.com"},
        {"text": "nowhere"},
    ],
)
@pytest.mark.parametrize("span", [search.MAX_SPAN, 4, 1])
def test_from_the_newest_back_the_same_is_found_however_little_is_looked_at(
    log, fields, span, monkeypatch
):
    monkeypatch.setattr(search, "MAX_SPAN", span)
    forwards = [step.record.sequence for step in find(log, Filter(**fields)).steps]
    assert newest_first(log, **fields) == forwards[::-1]


def test_a_page_that_looks_in_vain_says_where_to_go_on(log, monkeypatch):
    monkeypatch.setattr(search, "MAX_SPAN", 5)
    page = latest(log, Filter(text="nowhere"))
    assert (page.steps, page.reached, page.ended) == ((), 12, False)


def test_the_last_sessions_come_first_page_by_page(log):
    def named(**asked):
        shorts, more = latest_sessions(log, **asked)
        return [short.session for short in shorts], more

    assert named() == ([OTHER, SESSION], None)
    assert named(limit=1) == ([OTHER], 12)
    assert named(limit=1, before=12) == ([SESSION], 2)
    assert named(before=2) == ([], None)
    assert named(which=Filter(answer=Answer.DENY)) == ([SESSION], None)


def test_a_long_session_is_found_in_order_whatever_kinds_are_mixed(tmp_path):
    path = tmp_path / "state" / "audit.sqlite3"
    drafts = [draft(Event.SESSION_CREATE), draft(Event.SESSION_CREATE, session=OTHER)]
    for number in range(60):
        answer = Answer.DENY if number % 7 == 0 else Answer.ALLOW
        drafts.append(asked(f"read /{number}", answer, session=(SESSION, OTHER)[number % 2]))
        if number % 3 == 0:
            drafts.append(draft(Event.WORKER_NOTE, origin=Origin.WORKER))
        if answer is Answer.ALLOW:
            drafts.append(draft(Event.OUTCOME, refers=len(drafts), outcome="ok"))
    # One that is told after its session's next decision, and one of a decision that is not there.
    drafts += [asked("read /a"), asked("read /b"), draft(Event.OUTCOME, refers=len(drafts) + 1)]
    drafts.append(draft(Event.OUTCOME, refers=100_000, outcome="ok"))
    fill(path, drafts)
    for outcomes in Outcomes:
        of_all = find(path, outcomes=outcomes).steps
        wanted = [step.record for step in of_all if step.record.session == SESSION]
        pages, after = [], 0
        while not pages or not pages[-1].ended:
            page = find(path, Filter(session=SESSION), after=after, limit=7, outcomes=outcomes)
            pages.append(page)
            after = page.reached
        assert [step.record for page in pages for step in page.steps] == wanted
