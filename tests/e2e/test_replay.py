"""
Sessions of real guests, captured, and run again with nothing outside: the same to the byte.

What green does not prove: that a worker which was taken over told the truth of its clocks and
connections (docs/replay.md).
"""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import agent_client
from codecage.worker.v1.worker_pb2 import FromWorker
from executor.audit.read import records
from executor.audit.record import Event
from executor.capture.events import Kind
from executor.capture.vault import Vault
from executor.replay.reading import open_session
from tests.e2e.serving import (
    ROOT,
    environment,
    find,
    needs_image,
    private_directory,
    serving,
)
from tests.security.connected import GUEST, SECRET, World, world

pytestmark = [pytest.mark.image, needs_image]

POLICY = """\
version: 1
name: {name}
image: [core, data]
audit: {{level: replay{redact}}}
limits: {{wall_time: 50s, cpu_time: 30s, requests: 100000}}
filesystem:
  - {{mount: /data, source: {folder}/granted, access: read-write, quota: 10Mi}}
network:
  - host: api.test
    ports: [{api}]
    credentials: {{header: Authorization, secret: prices-api, prefix: "Bearer "}}
    addresses: [loopback]
  - {{host: plain.test, ports: [{plain}], scheme: http, addresses: [loopback]}}
tools:
  - {{name: price, max_calls: 100, effect: read}}
"""
NATIVE = """\
version: 1
name: native
cage: process
image: native-core
audit: {level: replay}
"""
SECRETIVE = ", redact: [token]"

CHANCE = """\
import os, random, time, uuid
print(time.time(), time.monotonic(), time.perf_counter(), time.process_time())
print(os.urandom(8), random.random(), uuid.uuid4(), hash("text"), id(object()))
time.sleep(0.02)
time.strftime("%c")
"""
FILES = """\
import os, pathlib
text = open("/data/table.csv").read()
print(len(text), sorted(os.listdir("/data")), os.stat("/data/table.csv"))
pathlib.Path("/data/new.txt").write_text("made by the guest")
os.rename("/data/new.txt", "/data/other.txt")
print(open("/data/other.txt", "r+").read(7), os.path.getmtime("/data/other.txt") > 0)
os.unlink("/data/other.txt")
for name in ("/data/absent", "/etc/passwd"):
    try:
        open(name)
    except OSError as error:
        print(error)
"""
OUTPUT = """\
import sys, time
for number in range(30):
    print(number, file=sys.stderr if number % 3 else sys.stdout)
    time.sleep(0.001)
display({"text/plain": "shown", "text/html": "<b>shown</b>"}, raw=True) if "display" in dir(
    __builtins__) else None
price("apples", 3)
"""
NETWORK = """\
import http.client, select
print(get("/", "plain.test", "plain")[-40:], attempt(lambda: connect("plain.test", 1)))
with connect("plain.test", "plain") as end:
    end.setblocking(False)
    print(attempt(lambda: end.recv(10)))
    end.sendall(b"GET / HTTP/1.1\\r\\nHost: plain.test:%d\\r\\n\\r\\n" % PORTS["plain"])
    print(select.select([end], [], [], 20)[0] == [end], end.recv(4))
secure = http.client.HTTPSConnection("api.test", PORTS["api"], timeout=20)
secure.request("GET", "/echo")
answer = secure.getresponse()
print(answer.status, answer.read())
attempt(lambda: connect("evil.test", 80))
"""
FAILS = "value = {'a': [1, 2]}\n1 / 0"
CELLS = (CHANCE, FILES, OUTPUT, NETWORK, FAILS, "import sys; value, sys.exit(3)")
SHORT = (CHANCE, FILES, "price('pears', 2)", FAILS)


def price(name: str, count: int = 1, *, token: str = "") -> float:
    """
    What so many cost.
    """
    return len(name) * count * 1.5


@dataclass
class Recorded:
    """
    A world whose sessions are over; `names` are theirs, by what they did.
    """

    world: World
    audit: Path
    names: dict[str, str] = field(default_factory=dict)
    captures: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, dict] = field(default_factory=dict)
    said: str = ""

    def verdict(self, name):
        return self.verdicts[self.names[name]]

    def run(self, name, cells, policy="replayed", **options):
        tools = [] if policy == "native" else [price]
        with self.world.cage.session(policy=policy, tools=tools, **options) as session:
            self.names[name] = session.id
            for cell in cells:
                cell(session) if callable(cell) else session.run(cell)
        self.captures[name] = dict(end_of(self.audit, session.id)).get("capture", "")


def complete_so_far(session):
    assert session.info.capture == "complete"


def end_of(audit, session):
    (end,) = [one for one in records(audit, session=session) if one.event is Event.SESSION_END]
    return end.detail


def policies(folder, ports):
    granted = folder / "granted"
    granted.mkdir()
    (granted / "table.csv").write_text("name,count\n" + "apples,3\n" * 20_000)
    for path in (granted, granted / "table.csv"):
        path.chmod(0o777)
    texts = {"replayed": "", "secretive": SECRETIVE}
    made = {
        name: POLICY.format(name=name, redact=redact, folder=folder, **ports)
        for name, redact in texts.items()
    }
    return made | ({"native": NATIVE} if find("native-core") else {})


def put_and_get(session):
    session.put("/work/given.bin", bytes(range(256)) * 2000)
    session.run("import hashlib; hashlib.sha256(open('/work/given.bin', 'rb').read()).hexdigest()")
    assert len(session.get("/work/given.bin")) == 512_000
    session.files("/work")


def interrupted(session):
    session.run("while True: pass", timeout=0.3)


@pytest.fixture(scope="module")
def recorded():
    with world(policies) as made:
        done = Recorded(made, made.audit)
        there = [image for image in ("core", "data") if find(image)]
        for image in there:
            cells = [GUEST.format(ports=made.ports), put_and_get, *CELLS]
            done.run(image, cells, image=image)
        done.run("short", [*SHORT, complete_so_far])
        done.run("left", ["1 + 1", "import os; os._exit(4)"])
        done.run("interrupted", ["kept = 1", interrupted, "kept"])
        done.run("secret", ["1", "price('figs', token='hidden')", "2"], "secretive")
        done.run("plain", ["1"], "sealed")
        if find("native-core"):
            with contextlib.suppress(agent_client.errors.CodecageError):
                done.run("native", ["1"], "native")
        shutil.rmtree(made.folder / "granted")
        touched = made.touched()
        code, verdicts, done.said = told(done.audit, "--all")
        done.verdicts = {one["session"]: one for one in verdicts}
        assert code == 4, done.said
        # Its files are gone, and nobody was asked for anything.
        assert made.touched() == touched
        yield done


@pytest.fixture
def copied(recorded):
    """
    The record and the captures, for those who change them.
    """
    with private_directory() as directory:
        shutil.copytree(recorded.audit.parent, directory / "audit")
        yield Recorded(recorded.world, directory / "audit" / recorded.audit.name, recorded.names)


def module(*words, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", *words],
        check=False,
        env=environment(),
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
    )


def replay(audit, *words, stdin=""):
    return module("executor.cli", "audit", "replay", "--audit", str(audit), *words, stdin=stdin)


def told(audit, *words):
    done = replay(audit, "--json", *words)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_captured_sessions_replay_to_the_byte_with_nothing_outside(recorded):
    for name in ("core", "data", "short", "left"):
        if name in recorded.names:
            verdict = recorded.verdict(name)
            assert (verdict["answer"], verdict["why"]) == ("identical", ""), (name, recorded.said)
            assert recorded.captures[name] == "complete"


def test_a_session_of_everything_has_asked_for_much(recorded):
    played = recorded.verdict("core")["played"]
    assert played["cells"] == len(CELLS) + 2
    assert played["asks"] > 20
    # Begin, cells, and the client's commands.
    assert played["steps"] > played["cells"] + 3


def test_each_omitted_event_is_missed(recorded):
    done = module("tests.e2e.omitting", str(recorded.audit), recorded.names["short"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["unmissed"] == []
    assert found["whole"] == "identical"
    assert found["tried"] > 30


def test_a_session_that_looks_at_no_clock_tells_of_none(recorded):
    def told_of(name):
        events = open_session(recorded.audit, Vault(recorded.audit), recorded.names[name]).events
        frames = [one.data for _, one in events if one.kind is Kind.FROM_WORKER]
        return [f for f in map(FromWorker.FromString, frames) if f.HasField("inputs")]

    assert not told_of("left")
    assert told_of("short")


def test_an_interrupt_ends_the_capture_and_says_so(recorded):
    assert recorded.captures["interrupted"].startswith("incomplete (cell 2 was interrupted")
    verdict = recorded.verdict("interrupted")
    assert (verdict["answer"], verdict["played"]["cells"]) == ("incomplete", 1)
    assert verdict["why"] == recorded.captures["interrupted"]


def test_what_the_record_withholds_is_not_captured(recorded):
    assert recorded.captures["secret"] == "incomplete (redacted)"
    verdict = recorded.verdict("secret")
    assert (verdict["answer"], verdict["played"]["cells"]) == ("incomplete", 1)


def test_native_code_is_not_captured_and_says_so(recorded):
    if "native" not in recorded.captures:
        pytest.skip("no native sessions here")
    assert recorded.captures["native"] == "incomplete (native code)"
    assert recorded.names["native"] not in recorded.verdicts


def test_without_the_level_nothing_is_captured(recorded):
    assert recorded.captures["plain"] == ""
    done = replay(recorded.audit, recorded.names["plain"])
    assert done.returncode == 2
    assert "nothing was captured" in done.stderr


def test_credentials_are_not_in_what_was_captured(recorded):
    session = recorded.names["core"]
    events = open_session(recorded.audit, Vault(recorded.audit), session).events
    kept = [event.data for _, event in events]
    # The answer to the request that the broker put them into is there.
    assert any(b"HTTP/1.1 200" in data for data in kept)
    assert not any(SECRET.encode() in data for data in kept)


def test_random_bytes_and_code_are_not_in_the_files(recorded):
    session = recorded.names["core"]
    capture = recorded.audit.parent / f"{recorded.audit.name}.captures" / f"{session}.capture"
    data = capture.read_bytes()
    assert b"import os" not in data
    create = records(recorded.audit, session=session, limit=1)[0]
    assert "entropy" not in dict(create.detail)
    assert capture.stat().st_mode & 0o777 == 0o600
    key = recorded.audit.parent / f"{recorded.audit.name}.capture-keys" / f"{session}.key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_server_leaves_replays_as_far_as_it_was_written():
    with private_directory() as directory, private_directory() as places:
        directory.chmod(0o755)
        (directory / "kept.yaml").write_text("version: 1\nname: kept\naudit: {level: replay}\n")
        with serving(places, ["--policies", str(directory)]) as server:
            session = server.create("kept")
            server.run(session, "import random; random.random()")
            server.process.kill()
            server.process.wait()
        (capture,) = places.glob("*.captures/*.capture")
        with capture.open("ab") as file:
            file.write(b"\xff\x00\x00\x00half of a batch")
        code, (verdict,), said = told(server.audit, session)
    assert (code, verdict["answer"], verdict["played"]["cells"]) == (4, "incomplete", 1), said
    assert verdict["why"] == "incomplete (the session has not ended)"


def test_all_of_nothing_is_no_yes(copied):
    shutil.rmtree(copied.audit.parent / f"{copied.audit.name}.captures")
    done = replay(copied.audit, "--all")
    assert done.returncode == 2
    assert "there is no capture beside" in done.stderr


def test_one_shell_is_for_one_session(recorded):
    assert replay(recorded.audit, "--all", "--until", "1").returncode == 2


def test_a_record_that_was_removed_does_not_replay(copied):
    session = copied.names["short"]
    victim = next(
        one.sequence for one in records(copied.audit, session=session) if one.request is not None
    )
    with contextlib.closing(sqlite3.connect(copied.audit)) as db, db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            db.execute(f"DROP TRIGGER {name}")
        assert db.execute("DELETE FROM record WHERE sequence = ?", (victim,)).rowcount == 1
    code, (verdict,), _ = told(copied.audit, session)
    assert (code, verdict["answer"]) == (1, "differs")
    assert "is not the one that was captured" in verdict["why"]


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_capture_that_was_altered_does_not_replay(copied, place):
    session = copied.names["short"]
    path = copied.audit.parent / f"{copied.audit.name}.captures" / f"{session}.capture"
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    done = replay(copied.audit, session)
    assert done.returncode == 2
    assert "is not what was written" in done.stderr


def test_a_capture_that_cannot_be_read_leaves_the_others_be(copied):
    names = [copied.names[name] for name in ("left", "short", "interrupted")]
    place = copied.audit.parent / f"{copied.audit.name}.captures"
    for path in place.iterdir():
        if path.stem not in names:
            path.unlink()
    victim = place / f"{names[0]}.capture"
    victim.write_bytes(victim.read_bytes()[:40])
    code, verdicts, said = told(copied.audit, "--all")
    answers = {one["session"]: one["answer"] for one in verdicts}
    assert (code, answers) == (2, {names[1]: "identical", names[2]: "incomplete"})
    assert f"the capture of session {names[0]} is not what was written" in said


def test_a_capture_that_was_cut_at_a_batch_is_not_the_sealed_one(copied):
    session = copied.names["short"]
    path = copied.audit.parent / f"{copied.audit.name}.captures" / f"{session}.capture"
    data = path.read_bytes()
    at, ends = len(b"codecage capture 1\n"), []
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
        ends.append(at)
    path.write_bytes(data[: ends[-2]])
    code, (verdict,), _ = told(copied.audit, session)
    assert (code, verdict["answer"]) == (1, "differs")


def test_an_erased_capture_is_readable_by_nobody(copied):
    session = copied.names["short"]
    done = module("executor.cli", "audit", "erase", "--audit", str(copied.audit), session)
    assert done.returncode == 0, done.stderr
    assert not [*copied.audit.parent.rglob(f"{session}*")]
    assert replay(copied.audit, session).returncode == 2


def test_until_a_cell_there_is_a_shell_on_the_state_that_it_left(recorded):
    session = recorded.names["short"]
    cells = "len(text), price\nopen('/data/table.csv')\nimport time; time.time() > 1.6e9\n"
    done = replay(recorded.audit, session, "--until", "2", stdin=cells)
    assert done.returncode == 0, done.stderr
    assert f"{session} identical: 2 cells" in done.stdout
    assert "(180011, <" in done.stdout
    assert "True" in done.stdout
    assert "a replay has no files" in done.stderr


def test_a_cell_that_is_not_there_is_told(recorded):
    done = replay(recorded.audit, recorded.names["short"], "--until", "9")
    assert done.returncode == 2
    assert "there is no cell 9; the capture has cells 1 to 4" in done.stderr
