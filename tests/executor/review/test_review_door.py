"""
The door of the review page, by real requests: hosts, origins, tokens, heads, and no page that was
not written down first. For each thing that is let in, its twin that is not.
"""

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from urllib.parse import quote

import pytest
from pages_world import POLICY_TEXT, SESSION, fill

from executor.audit.read import records
from executor.audit.record import Answer, Event
from executor.audit.verify import verify
from executor.review.door import SECURITY_POLICY
from executor.review.login import MOST_WRONG
from executor.review.places import place_of
from tests.reviewing import environment, reviewing, start

ALL_PAGES = ["/", "/search", "/readers", f"/session/{SESSION}", "/record/6", "/record/999", "/nope"]


def cookie_of(answer):
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture
def fresh(tmp_path):
    """
    A server of its own, for a test that spends logins or breaks something.
    """
    (tmp_path / "books.yaml").write_text(POLICY_TEXT)
    audit = tmp_path / "state" / "audit.sqlite3"
    fill(audit, tmp_path / "books.yaml")
    with reviewing(audit, tmp_path) as review:
        review.audit = audit
        yield review


@pytest.mark.parametrize("place", ALL_PAGES)
def test_no_page_without_the_token(world, place):
    bare = world.ask("GET", place)
    assert bare.status == 303
    assert bare.headers["location"].startswith("/login?next=%2F")
    assert bare.text == ""
    assert world.get(place).status in {200, 404}


@pytest.mark.parametrize(
    "field",
    [
        {"Authorization": "Bearer wrong"},
        {"Cookie": "codecage_review=wrong"},
        {"Cookie": 'codecage_review="; broken=\x01'},
        {"Cookie": "codecage_review="},
    ],
)
def test_what_is_not_the_token_opens_nothing(world, field):
    answer = world.ask("GET", "/", **field)
    assert answer.status in {303, 401}
    assert SESSION not in answer.text


def test_the_token_in_an_address_opens_nothing(world):
    assert world.ask("GET", f"/?token={world.token}").status == 303


def test_the_token_once_then_a_cookie_that_scripts_and_other_sites_do_not_have(world):
    signed = world.sign_in(place=f"/session/{SESSION}")
    assert (signed.status, signed.headers["location"]) == (303, f"/session/{SESSION}")
    name, *attributes = signed.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert world.token not in name
    with_others = f"other=1; {name}; bad=\x01"
    assert world.ask("GET", "/", Cookie=with_others).status == 200
    left = world.ask("POST", "/logout", {}, Cookie=name, Origin=f"http://{world.host}")
    assert left.status == 303
    assert world.ask("GET", "/", Cookie=name).status == 303


@pytest.mark.parametrize("host", [None, "evil.example", "127.0.0.1", "127.0.0.1.evil.example:80"])
def test_another_host_is_not_answered(world, host):
    answer = world.get("/", Host=host)
    assert answer.status in {400, 421}
    assert SESSION not in answer.text
    assert world.get("/login", Host=host).status in {400, 421}


def test_two_hosts_are_not_answered(world):
    assert world.get("/", Host=[world.host, "evil.example"]).status in {400, 421}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "codecage.localhost"])
def test_its_own_hosts_are_answered(world, name):
    assert world.get("/", Host=f"{name}:{world.port}").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_another_origin_is_refused_whatever_it_shows(world, origin):
    assert world.get("/", Origin=origin).status == 403
    form = {"token": world.token, "next": "/"}
    assert world.ask("POST", "/login", form, Origin=origin).status == 403
    assert world.ask("POST", "/login", form).status == 403
    assert world.get("/", Origin=f"http://{world.host}").status == 200


def test_a_wrong_token_is_refused_and_after_some_none_is_looked_at(fresh):
    for _ in range(MOST_WRONG):
        assert fresh.sign_in("x" * 43).status == 401
    turned_away = fresh.sign_in()
    assert turned_away.status == 429
    assert 0 < int(turned_away.headers["retry-after"]) <= 61
    assert "set-cookie" not in turned_away.headers
    assert fresh.get("/").status == 429
    tried = [one for one in records(fresh.readers) if one.event is Event.REVIEW_LOGIN]
    assert [one.answer for one in tried] == [Answer.DENY] * MOST_WRONG


def test_a_visit_goes_on_while_others_guess(fresh):
    cookie = cookie_of(fresh.sign_in())
    for _ in range(MOST_WRONG + 1):
        fresh.sign_in("x" * 43)
    assert fresh.ask("GET", "/", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil",
        "/a\r\nSet-Cookie: taken=1",
        "javascript:1",
    ],
)
def test_a_login_leads_nowhere_else_and_into_no_field(world, place):
    assert place_of(place) == "/"
    signed = world.sign_in(place=place)
    assert signed.headers["location"] == "/"
    assert signed.headers["set-cookie"].startswith("codecage_review=")
    form = world.ask("GET", f"/login?next={quote(place)}")
    assert (form.status, form.headers.get("set-cookie")) == (200, None)
    assert '<input type="hidden" name="next" value="/">' in form.text


@pytest.mark.parametrize("place", ["/", "/session/5e55", "/search?path=%2Fdata%2F**&before=9"])
def test_a_login_leads_back_to_a_page_of_ours(place):
    assert place_of(place) == place


def test_a_long_place_is_judged_at_once():
    assert place_of("/" + "a" * 100_000 + "!") == "/"
    assert place_of("/" + "a/" * 1000 + "!") == "/"


@pytest.mark.parametrize("place", [*ALL_PAGES, "/login", "/style.css", "/icon.svg"])
def test_every_answer_forbids_what_could_act(world, place):
    for answer in (world.get(place), world.ask("GET", place)):
        assert answer.headers["content-security-policy"] == SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "script" not in answer.headers["content-security-policy"]


def test_a_picture_has_a_stricter_policy_and_no_script(world):
    answer = world.get(f"/session/{SESSION}/wall.svg")
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sh")
    assert "<script" not in answer.text
    assert world.get(f"/session/{SESSION}/none.svg").status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"])
def test_nothing_is_changed_by_any_method(world, method):
    authorised = {"Authorization": f"Bearer {world.token}"}
    assert world.ask(method, "/", **authorised).status in {400, 405}
    posted = world.ask("POST", "/", {}, Origin=f"http://{world.host}", **authorised)
    assert posted.status == 405


def test_a_websocket_is_not_opened(world):
    answer = world.get(
        "/",
        Connection="Upgrade",
        Upgrade="websocket",
        Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
        Sec_WebSocket_Version="13",
    )
    assert answer.status != 101


def test_a_long_form_is_not_read(world):
    origin = f"http://{world.host}"
    assert world.ask("POST", "/login", "x" * 5000, Origin=origin).status == 413
    assert world.ask("GET", "/login?" + "&".join("abcdefghij")).status == 200


@pytest.mark.parametrize("form", ["token=\xff", "&".join("abcdefghij"), "token", ""])
def test_a_form_that_is_none_of_ours_is_a_wrong_token(fresh, form):
    origin = f"http://{fresh.host}"
    assert fresh.ask("POST", "/login", form, Origin=origin).status == 401


def test_a17_every_page_is_in_the_record_of_the_readers_with_what_was_sent(world):
    import hashlib

    answer = world.get(f"/session/{SESSION}?after=3")
    last = records(world.readers, limit=10_000)[-1]
    assert (last.event, last.answer, last.outcome) == (Event.REVIEW_READ, Answer.ALLOW, "ok")
    assert (last.request, last.session) == (f"GET /session/{SESSION}?after=3", SESSION)
    assert last.digest == hashlib.sha256(answer.text.encode()).digest()
    assert last.size == len(answer.text.encode())
    assert world.get("/record/999").status == 404
    assert records(world.readers, limit=10_000)[-1].outcome == "HTTP 404"
    assert verify(world.readers).whole


def test_the_commands_read_the_record_of_the_readers(world):
    assert world.get(f"/session/{SESSION}").status == 200
    command = (sys.executable, "-m", "executor.cli", "audit", "show", SESSION[:8], "--audit")
    told = subprocess.run(
        [*command, str(world.readers)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GET /session/{SESSION}" in told.stdout
    assert "review.read" not in told.stdout.splitlines()[0]


def test_r04_a_page_that_cannot_be_written_down_is_not_shown(fresh):
    assert fresh.get("/").status == 200
    with closing(sqlite3.connect(fresh.readers, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        refused = fresh.get(f"/session/{SESSION}")
        signing = fresh.sign_in()
    assert refused.status == signing.status == 503
    assert SESSION not in refused.text
    assert "set-cookie" not in signing.headers
    assert fresh.get("/").status == 200


def test_a_secret_in_an_address_is_not_written_down(world):
    secret = "ghp_" + "a1B2" * 10
    world.get(f"/search?text={secret}")
    assert secret.encode() not in world.readers.read_bytes()
    wal = world.readers.with_name(world.readers.name + "-wal")
    assert secret.encode() not in wal.read_bytes()
    assert "text=[redacted]" in str(records(world.readers, limit=10_000)[-1].request)


def test_one_record_of_readers_has_one_page(fresh):
    second = start(fresh.audit, "--readers", str(fresh.readers))
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "another codecage server has it open" in said
    assert fresh.get("/").status == 200


def test_the_page_ends_when_it_is_told_to_and_leaves_nothing(fresh):
    import psutil

    children = psutil.Process(fresh.process.pid).children(recursive=True)
    fresh.process.send_signal(signal.SIGTERM)
    assert fresh.process.wait(30) == 0
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() for child in children)
    assert [one.event for one in records(fresh.readers)][-1] is Event.SERVER_STOP
    assert verify(fresh.readers).whole


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.org:80", "80"])
def test_only_this_machine_is_listened_on(tmp_path, listen):
    (tmp_path / "books.yaml").write_text(POLICY_TEXT)
    audit = tmp_path / "state" / "audit.sqlite3"
    fill(audit, tmp_path / "books.yaml")
    process = start(audit, "--listen", listen)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "for this machine alone" in said


def test_a_token_from_a_file_is_not_printed_and_a_file_of_others_is_refused(tmp_path):
    (tmp_path / "books.yaml").write_text(POLICY_TEXT)
    audit = tmp_path / "state" / "audit.sqlite3"
    fill(audit, tmp_path / "books.yaml")
    token = tmp_path / "token"
    token.write_text("t" * 40 + "\n")
    for mode, text, said in ((0o644, "t" * 40, "others may read"), (0o600, "short", "no token")):
        token.chmod(mode)
        token.write_text(f"{text}\n")
        process = start(audit, "--token-file", str(token))
        out, complaint = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert said in complaint
    token.write_text("t" * 40 + "\n")
    with reviewing(audit, tmp_path, "--token-file", str(token)) as review:
        review.token = "t" * 40
        assert review.get("/").status == 200
        review.token = "t" * 39
        assert review.get("/").status == 401


def test_a_unix_socket_is_in_a_directory_of_its_owner(tmp_path):
    (tmp_path / "books.yaml").write_text(POLICY_TEXT)
    audit = tmp_path / "state" / "audit.sqlite3"
    fill(audit, tmp_path / "books.yaml")
    where = tmp_path / "run" / "review.sock"
    with reviewing(audit, tmp_path, "--listen", f"unix:{where}") as review:
        assert review.address == f"unix:{where}"
        assert stat.S_IMODE(where.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(where))
            request = (
                f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {review.token}\r\n"
            )
            client.sendall(f"{request}Connection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not where.exists()
    open_to_others = tmp_path / "open"
    open_to_others.mkdir(mode=0o755)
    os.chmod(open_to_others, 0o755)
    process = start(audit, "--listen", f"unix:{open_to_others}/sock")
    assert "others may enter" in process.communicate(timeout=60)[1]
