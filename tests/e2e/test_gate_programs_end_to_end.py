"""
Commits are judged by programs of an administrator's, through a real server, each run of one in a
cage of its own: what may say yes, and what nobody hears a yes from.
"""

import hashlib
import os
import threading

import grpc
import psutil
import pytest

from agent_client import CommitOutcome, Judgement
from codecage.v1 import codecage_pb2 as pb
from executor.audit.read import records
from tests.e2e.gates_world import NEEDED, fixtures, open_to_all, policy, write
from tests.e2e.serving import private_directory, serving
from tests.executor.waiting import until

pytestmark = NEEDED
PROGRAMS = {
    "fine": "print('looked at', CHANGED)\nassert open(f'{TREE}/new').read()\n",
    "exits": "import sys\nsys.exit('one thing is wrong')\n",
    "raises": "raise ValueError('wrong')\n",
    "hangs": "while True: pass\n",
    "endures": "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n",
    "floods": "for _ in range(10**5): print('x' * 1000)\nraise SystemExit(1)\n",
    "eats": "held = []\nwhile True: held.append(bytearray(2**24))\n",
    "forges": "import os\nos._exit(0)\n",
    "escapes": (
        "import os, socket\n"
        "def refused(act, *given):\n"
        "    try: act(*given)\n"
        "    except OSError as error: print(type(error).__name__); return\n"
        "    raise SystemExit(f'{act} was done')\n"
        "refused(open, f'{TREE}/new', 'w')\n"
        "refused(open, '/tree/../etc/passwd')\n"
        "refused(os.listdir, '/ledger')\n"
        "refused(socket.create_connection, ('127.0.0.1', 9))\n"
        "print('CODECAGE' in str(dict(os.environ)))\n"
    ),
}
TIMEOUTS = {"hangs": "700ms", "endures": "700ms"}


def of_program(name, path, more="", image="core"):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    timeout = TIMEOUTS.get(name, "20s")
    return (
        f"{name}: {{program: {path}, sha256: '{digest}', image: {image}, timeout: {timeout}, "
        f"memory: 128Mi{more}}}"
    )


def policies(where, ledger):
    programs = where / "programs"
    programs.mkdir()
    gates = {}
    for name, source in PROGRAMS.items():
        path = programs / f"{name}.py"
        path.write_text(source)
        gates[name] = of_program(name, path)
    gates["boxed"] = of_program("fine", programs / "fine.py", image="native-core")
    (programs / "another.py").write_text("print(1)\n")
    gates["another"] = of_program("another", programs / "another.py")
    (programs / "another.py").write_text("print(2)\n")
    advice = of_program("tests", programs / "exits.py", ", trust: code")
    return {
        **{name: policy(name, ledger, gate) for name, gate in gates.items()},
        "advice": policy("advice", ledger, advice, ", commit_by: client"),
    }


world, books = fixtures(policies)


@pytest.mark.parametrize(
    ("name", "judgement", "said"),
    [
        ("fine", Judgement.PASSED, "looked at ['new']"),
        ("boxed", Judgement.PASSED, "looked at ['new']"),
        ("escapes", Judgement.PASSED, "False"),
        ("exits", Judgement.FAILED, "one thing is wrong"),
        ("raises", Judgement.FAILED, "ValueError: wrong"),
        ("hangs", Judgement.BROKEN, "longer than its timeout"),
        ("endures", Judgement.BROKEN, "came to no answer"),
        ("floods", Judgement.FAILED, "xxx"),
        ("eats", Judgement.FAILED, "MemoryError"),
        ("forges", Judgement.BROKEN, "came to no answer"),
        ("another", Judgement.BROKEN, "not the one that the policy names"),
    ],
)
def test_a_program_says_yes_by_coming_to_its_end(world, name, judgement, said):
    before = world.tree()
    with world.cage.session(name) as session:
        write(session, "new", "n")
        report = session.commit()
        (verdict,) = report.gates
        assert (verdict.judgement, verdict.advisory) == (judgement, False), verdict
        assert said in verdict.message
        assert len(verdict.message) <= 17_000
        assert report.committed is (judgement is Judgement.PASSED)
        assert ("new" in world.tree()) is report.committed
        assert world.cage.sessions()[0].id == session.id
    assert {**before, "new": "n"} == {**world.tree(), "new": "n"}


def test_a_cell_whose_time_is_over_while_a_gate_looks_keeps_its_session(world):
    with world.cage.session("endures") as session:
        write(session, "new", "1")
        seen = session.run("import codecage\ncodecage.commit()", timeout=0.2)
        assert (seen.status.value, seen.session_lost) == ("timed_out", False), seen.text
        assert session.run("open('/ledger/new').read()").value == "'1'"
    assert "new" not in world.tree()


def test_a_program_that_runs_what_it_judges_gives_advice(world):
    with world.cage.session("advice") as session:
        write(session, "new", "n")
        seen = session.run("import codecage\ncodecage.commit()")
        assert isinstance(seen.error.name, str)
        assert "PermissionError" in seen.text
        report = session.commit()
        assert report.gates[0].advisory
        assert report.outcome is CommitOutcome.GATE_FAILED
        assert "tests: failed (advice)" in report.text
    assert "new" not in world.tree()


def test_nothing_of_a_gate_is_left(world):
    (server,) = [one for one in psutil.Process().children() if "serve" in " ".join(one.cmdline())]

    def commit_badly():
        with world.cage.session("exits") as session:
            write(session, "new", "n")
            assert not session.commit().committed

    commit_badly()
    until(lambda: not world.cage.sessions())
    descriptors = server.num_fds()
    for _ in range(3):
        commit_badly()
    until(lambda: server.num_fds() <= descriptors)
    changes = world.audit.parent / f"{world.audit.name}.changes"
    until(lambda: not [found for found in os.walk(changes) if "gate-" in str(found)])


def test_a_server_that_is_killed_while_a_gate_looks_has_done_nothing():
    with private_directory() as where:
        ledger, policies, own = where / "ledger", where / "policies", where / "server"
        for made in (ledger, policies):
            made.mkdir()
        open_to_all(where, ledger)
        (ledger / "main").write_text("old")
        (where / "hangs.py").write_text(PROGRAMS["hangs"])
        gate = of_program("hangs", where / "hangs.py").replace("700ms", "60s")
        (policies / "books.yaml").write_text(policy("books", ledger, gate))
        with serving(own, ["--policies", str(policies)]) as server:
            session = server.create("books")
            server.run(session, "open('/ledger/new', 'w').write('n')")

            def commit():
                with pytest.raises(grpc.RpcError):
                    server.stub.Commit(pb.CommitRequest(session_id=session), timeout=60)

            committing = threading.Thread(target=commit)
            committing.start()
            until(lambda: len(server.stub.ListSessions(pb.ListSessionsRequest()).sessions) == 1)
            until(lambda: [row for row in records(server.audit, limit=1000) if is_gates(row)])
            server.process.kill()
            server.process.wait()
            committing.join()
        assert [path.name for path in ledger.iterdir()] == ["main"]
        (own / "sock").unlink(missing_ok=True)
        with serving(own, ["--policies", str(policies)]) as server:
            assert server.create("books")
        assert [path.name for path in ledger.iterdir()] == ["main"]


def is_gates(row):
    return row.event.value == "session.create" and '"gate": "hangs"' in str(
        dict(row.detail)["labels"]
    )
