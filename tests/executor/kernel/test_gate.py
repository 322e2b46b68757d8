import errno
import os
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest
from gate_world import CANARY, Scene, on_gate

from codecage.worker.v1 import worker_pb2 as wire
from executor.audit.errors import AuditUnavailable
from executor.audit.record import Answer, Event
from executor.kernel import gate
from executor.kernel.acts import Result
from executor.kernel.errors import InternalError
from executor.kernel.handles import Handles
from executor.linux.descriptors import own
from executor.transactions.places import STAGING
from policy.requests import FileAction, FileRequest


def test_an_allowed_read_is_recorded_before_and_after_and_passes_a_descriptor(tmp_path):
    async def scenario(scene: Scene) -> None:
        reply = await scene.reply(open=wire.OpenAsk(path="/data/a.csv"))
        assert reply.answer.opened.passed
        assert os.pread(reply.descriptor, 10, 0) == b"1,2\n"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(reply.descriptor, b"x")
        os.close(reply.descriptor)
        await scene.log.end("over")
        assert scene.rows() == [
            ("session.create", None, None, None),
            ("decision", "read /data/a.csv", "allow", None),
            ("outcome", None, None, "ok"),
            ("session.end", None, None, "over"),
        ]
        decision, outcome = scene.records()[1:3]
        assert outcome.refers == decision.sequence
        assert outcome.size == 4

    on_gate(tmp_path, scenario)


def test_a_denied_read_has_its_record_when_the_answer_comes_and_looks_absent(tmp_path):
    async def scenario(scene: Scene) -> None:
        answer = await scene.ask(open=wire.OpenAsk(path="/data/private/x.key"))
        assert answer.errno == errno.ENOENT
        assert answer.reason.startswith("[policy test, rule filesystem[0]")
        assert scene.rows()[1:] == [("decision", "read /data/private/x.key", "deny", None)]
        assert scene.gate.counts.denied == 1

    on_gate(tmp_path, scenario)


def test_a_link_to_a_denied_name_is_a_plain_missing_file_and_the_record_knows_why(tmp_path):
    async def scenario(scene: Scene) -> None:
        missing = await scene.ask(open=wire.OpenAsk(path="/data/nowhere"))
        answer = await scene.ask(open=wire.OpenAsk(path="/data/readme.txt"))
        assert (answer.errno, answer.reason) == (
            errno.ENOENT,
            missing.reason.replace("nowhere", "readme.txt"),
        )
        denied = scene.records()[-1]
        assert (denied.request, denied.answer) == ("read /data/readme.txt", Answer.DENY)
        assert "private" in dict(denied.detail)["reason"]

    on_gate(tmp_path, scenario)


def test_a_read_through_an_allowed_link_records_both_names(tmp_path):
    async def scenario(scene: Scene) -> None:
        reply = await scene.reply(open=wire.OpenAsk(path="/data/alias.csv"))
        os.close(reply.descriptor)
        decided = [r.request for r in scene.records() if r.event is Event.DECISION]
        assert decided == ["read /data/alias.csv", "read /data/a.csv"]

    on_gate(tmp_path, scenario)


def test_a_missing_file_is_decided_recorded_and_not_found(tmp_path):
    async def scenario(scene: Scene) -> None:
        answer = await scene.ask(open=wire.OpenAsk(path="/out/none"))
        assert answer.errno == errno.ENOENT
        await scene.log.end("over")
        assert scene.rows()[1:3] == [
            ("decision", "read /out/none", "allow", None),
            ("outcome", None, None, "ENOENT"),
        ]

    on_gate(tmp_path, scenario)


def test_looking_is_recorded_only_where_it_is_denied(tmp_path):
    async def scenario(scene: Scene) -> None:
        seen = await scene.ask(stat=wire.PathAsk(path="/data/a.csv", follow=True))
        assert (seen.status.kind, seen.status.size) == (wire.KIND_FILE, 4)
        names = await scene.ask(list=wire.PathAsk(path="/data"))
        assert [entry.name for entry in names.listing.entries] == [
            "a.csv",
            "alias.csv",
            "readme.txt",
        ]
        link = await scene.ask(read_link=wire.PathAsk(path="/data/alias.csv"))
        assert link.link == "a.csv"
        assert scene.rows()[1:] == []
        answer = await scene.ask(stat=wire.PathAsk(path="/data/private", follow=True))
        assert answer.errno == errno.ENOENT
        assert scene.rows()[1:] == [("decision", "stat /data/private", "deny", None)]
        hidden = await scene.ask(read_link=wire.PathAsk(path="/data/readme.txt"))
        assert (hidden.errno, hidden.link) == (errno.ENOENT, "")

    on_gate(tmp_path, scenario)


def test_a_file_written_in_pieces_makes_one_decision_and_one_outcome_at_its_close(tmp_path):
    async def scenario(scene: Scene) -> None:
        ask = wire.OpenAsk(path="/out/new.txt", write=True, create=True, truncate=True)
        reply = await scene.reply(open=ask)
        assert (reply.answer.opened.passed, reply.descriptor) == (False, None)
        handle = reply.answer.opened.handle
        for piece in range(10):
            write = wire.WriteAsk(handle=handle, offset=piece * 3, data=b"abc")
            assert (await scene.ask(write=write)).count == 3
        assert (await scene.ask(read=wire.ReadAsk(handle=handle, offset=3, length=2))).data == b"ab"
        assert (await scene.ask(stat_handle=handle)).status.size == 30
        assert (await scene.ask(sync=handle)).errno == 0
        assert (await scene.ask(truncate=wire.TruncateAsk(handle=handle, length=29))).errno == 0
        assert scene.rows()[1:] == [("decision", "write /out/new.txt", "allow", None)]
        assert (await scene.ask(close=handle)).errno == 0
        await scene.log.end("over")
        outcome = scene.records()[2]
        assert (outcome.event, outcome.outcome, outcome.size) == (Event.OUTCOME, "ok", 30)
        assert (scene.out / "new.txt").read_bytes() == b"abc" * 9 + b"ab"
        assert (await scene.ask(close=handle)).errno == errno.EBADF

    on_gate(tmp_path, scenario)


def test_the_same_open_below_a_read_only_grant_is_refused_and_makes_nothing(tmp_path):
    async def scenario(scene: Scene) -> None:
        ask = wire.OpenAsk(path="/data/new.txt", write=True, create=True, truncate=True)
        answer = await scene.ask(open=ask)
        assert answer.errno == errno.EROFS
        assert "reading only" in answer.reason
        assert scene.rows()[1:] == [("decision", "write /data/new.txt", "deny", None)]
        assert not (scene.data / "new.txt").exists()

    on_gate(tmp_path, scenario)


@pytest.mark.parametrize("flag", ["write", "create", "exclusive", "truncate", "append"])
def test_any_flag_that_could_change_a_file_asks_for_writing(tmp_path, flag):
    async def scenario(scene: Scene) -> None:
        answer = await scene.ask(open=wire.OpenAsk(path="/data/a.csv", **{flag: True}))
        assert answer.errno == errno.EROFS
        assert (scene.data / "a.csv").read_bytes() == b"1,2\n"

    on_gate(tmp_path, scenario)


def test_a_write_beyond_the_quota_fails_and_the_outcome_says_so(tmp_path):
    async def scenario(scene: Scene) -> None:
        ask = wire.OpenAsk(path="/out/big", write=True, create=True)
        handle = (await scene.ask(open=ask)).opened.handle
        write = wire.WriteAsk(handle=handle, offset=0, data=bytes(1024))
        assert (await scene.ask(write=write)).count == 1024
        write = wire.WriteAsk(handle=handle, offset=1024, data=b"x")
        assert (await scene.ask(write=write)).errno == errno.EDQUOT
        await scene.ask(close=handle)
        await scene.log.end("over")
        assert (scene.records()[2].outcome, scene.records()[2].size) == ("EDQUOT", 1024)

    on_gate(tmp_path, scenario)


CHANGES = {
    "mkdir": {"make_directory": "{}/d"},
    "remove": {"remove_file": "{}/a.csv"},
    "rmdir": {"remove_directory": "{}/e"},
    "rename": {"rename": ("{}/a.csv", "{}/b.csv")},
    "utime": {"set_times": ("{}/a.csv", 5)},
}


def change(name: str, mount: str) -> wire.Ask:
    ((kind, value),) = CHANGES[name].items()
    if kind == "rename":
        old, new = (part.format(mount) for part in value)
        return wire.Ask(rename=wire.RenameAsk(old=old, new=new))
    if kind == "set_times":
        times = wire.SetTimesAsk(path=value[0].format(mount), modified_ns=value[1])
        return wire.Ask(set_times=times)
    return wire.Ask(**{kind: value.format(mount)})


def tree(root: Path) -> list[tuple[str, int]]:
    return sorted((str(p.relative_to(root)), p.stat().st_mtime_ns) for p in root.rglob("*"))


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_on_record_before_it_is_made(tmp_path, name):
    async def scenario(scene: Scene) -> None:
        (scene.out / "a.csv").write_bytes(b"")
        (scene.out / "e").mkdir()
        before = tree(scene.out)
        answer = (await scene.gate.answer(change(name, "/out"))).answer
        assert (answer.errno, answer.reason) == (0, "")
        assert tree(scene.out) != before
        await scene.log.end("over")
        events = [(r.event.value, r.answer, r.outcome) for r in scene.records()[1:-1]]
        count = len(events) // 2
        assert (
            events == [("decision", Answer.ALLOW, None)] * count + [("outcome", None, "ok")] * count
        )
        assert scene.records()[1].request.startswith(f"{name} /out/")

    on_gate(tmp_path, scenario)


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_below_a_read_only_grant_is_one_denial_and_no_change(tmp_path, name):
    async def scenario(scene: Scene) -> None:
        (scene.data / "e").mkdir()
        before = tree(scene.data)
        answer = (await scene.gate.answer(change(name, "/data"))).answer
        assert answer.errno == errno.EROFS
        assert tree(scene.data) == before
        (row,) = scene.rows()[1:]
        assert (row[0], row[2]) == ("decision", "deny")

    on_gate(tmp_path, scenario)


def test_a_change_does_not_happen_when_its_record_cannot_be_written(tmp_path):
    async def scenario(scene: Scene) -> None:
        scene.store.close()
        answer = await scene.ask(make_directory="/out/d")
        assert (answer.errno, (scene.out / "d").exists()) == (errno.EIO, False)
        reply = await scene.reply(open=wire.OpenAsk(path="/data/a.csv"))
        assert (reply.answer.errno, reply.descriptor) == (errno.EIO, None)

    on_gate(tmp_path, scenario)


def test_networks_and_programs_are_denied_with_their_rule(tmp_path):
    async def scenario(scene: Scene) -> None:
        answer = await scene.ask(connect=wire.ConnectAsk(host="evil.example", port=443))
        assert answer.errno == errno.EACCES
        assert answer.reason.startswith("[policy test, rule network] ")
        assert (await scene.ask(resolve="evil.example")).errno == errno.EACCES
        assert (await scene.ask(network=wire.NetworkAsk(socket="udp"))).errno == errno.EACCES
        answer = await scene.ask(run="sh")
        assert answer.errno == errno.EACCES
        assert scene.rows()[1:] == [
            ("decision", "connect evil.example:443", "deny", None),
            ("decision", "resolve evil.example", "deny", None),
            ("decision", "socket udp", "deny", None),
            ("decision", "run sh", "deny", None),
        ]

    on_gate(tmp_path, scenario)


def test_requests_beyond_the_policys_number_fail_and_are_one_record_and_a_number(tmp_path):
    async def scenario(scene: Scene) -> None:
        stat = wire.PathAsk(path="/data/a.csv", follow=True)
        assert [(await scene.ask(stat=stat)).errno for _ in range(5)] == [
            *(0, 0, 0),
            *(errno.EDQUOT, errno.EDQUOT),
        ]
        await scene.log.end("over")
        row, dropped, _ = scene.records()[1:]
        assert (row.answer, row.rule) == (Answer.DENY, "limits.requests")
        assert dropped.detail == (("deny stat", 1),)

    on_gate(tmp_path, scenario, "limits: {requests: 3}\n")


def test_files_left_open_get_their_outcome_when_the_session_ends(tmp_path):
    async def scenario(scene: Scene) -> None:
        ask = wire.OpenAsk(path="/out/left", write=True, create=True)
        handle = (await scene.ask(open=ask)).opened.handle
        await scene.ask(write=wire.WriteAsk(handle=handle, offset=0, data=b"abc"))
        scene.gate.close()
        await scene.log.end("over")
        assert (scene.records()[2].outcome, scene.records()[2].size) == ("ok", 3)

    on_gate(tmp_path, scenario)


def test_handles_are_bounded_and_a_refused_one_makes_no_file(tmp_path):
    async def scenario(scene: Scene) -> None:
        (scene.out / "f").touch()
        opens = [wire.OpenAsk(path="/out/f", write=True) for _ in range(8)]
        assert [(await scene.ask(open=ask)).errno for ask in opens] == [0] * 8
        refused = await scene.ask(open=wire.OpenAsk(path="/out/g", write=True, create=True))
        assert (refused.errno, (scene.out / "g").exists()) == (errno.EMFILE, False)

    on_gate(tmp_path, scenario, "limits: {open_files: 8}\n")


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("", errno.ENOENT),
        ("data/a.csv", errno.ENOENT),
        ("/data/../data/a.csv", errno.ENOENT),
        ("/data//a.csv", errno.ENOENT),
        ("/etc/passwd", errno.ENOENT),
        ("/data-secret", errno.ENOENT),
        ("/data/a.csv\0", errno.EINVAL),
        ("/data/" + "x" * 5000, errno.ENAMETOOLONG),
    ],
)
def test_paths_that_no_correct_worker_sends_are_refused(tmp_path, path, number):
    async def scenario(scene: Scene) -> None:
        answer = await scene.ask(open=wire.OpenAsk(path=path))
        assert answer.errno in {number, errno.ENOENT}
        assert str(tmp_path) not in answer.reason

    on_gate(tmp_path, scenario)


def test_an_empty_ask_comes_from_no_correct_worker(tmp_path):
    async def scenario(scene: Scene) -> None:
        with pytest.raises(InternalError, match="nobody can ask"):
            await scene.reply()

    on_gate(tmp_path, scenario)


def test_a_thousand_acts_leave_no_descriptor_open(tmp_path):
    async def scenario(scene: Scene) -> None:
        async def round_of_acts() -> None:
            reply = await scene.reply(open=wire.OpenAsk(path="/data/a.csv"))
            os.close(reply.descriptor)
            for path in ("/data/readme.txt", "/data/none", "/data/private", "/data"):
                assert (await scene.ask(open=wire.OpenAsk(path=path))).errno
            await scene.ask(list=wire.PathAsk(path="/data"))
            opened = await scene.ask(open=wire.OpenAsk(path="/out/f", write=True, create=True))
            await scene.ask(close=opened.opened.handle)

        await round_of_acts()
        before = len(own())
        for _ in range(150):
            await round_of_acts()
        assert len(own()) == before

    on_gate(tmp_path, scenario)


def test_everything_is_let_go_also_where_an_outcome_cannot_be_recorded(tmp_path):
    async def scenario(scene: Scene) -> None:
        await scene.ask(open=wire.OpenAsk(path="/out/f", write=True, create=True))
        scene.store.close()
        before = len(own())
        with pytest.raises(AuditUnavailable):
            scene.gate.close()
        assert before - len(own()) == len(("/out/f", "/data", "/out"))

    on_gate(tmp_path, scenario)


def test_looking_and_reading_below_a_plain_mount_run_nothing_of_transactions(tmp_path):
    called: set[str] = set()

    def watch(frame: FrameType, _event: str, _argument: object) -> None:
        called.add(frame.f_code.co_filename.rpartition("/executor/")[2])

    async def scenario(scene: Scene) -> None:
        threading.setprofile(watch)  # the threads for files begin with the first ask
        sys.setprofile(watch)
        try:
            (await scene.reply(open=wire.OpenAsk(path="/data/a.csv"))).close()
            await scene.ask(stat=wire.PathAsk(path="/data/alias.csv", follow=True))
            await scene.ask(list=wire.PathAsk(path="/data"))
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        assert {"kernel/gate.py", "kernel/hostfiles.py"} <= called
        of_commits = {"kernel/committing.py", "kernel/layers.py", "kernel/transactions.py"}
        assert not of_commits & called
        assert not [name for name in called if name.startswith("transactions/")]

    on_gate(tmp_path, scenario)


def test_where_a_commit_keeps_what_it_puts_in_place_is_shown_by_no_grant(tmp_path):
    async def scenario(scene: Scene) -> None:
        staging = scene.data / STAGING
        staging.mkdir()
        (staging / "0").write_bytes(CANARY)
        listing = (await scene.ask(list=wire.PathAsk(path="/data"))).listing
        assert STAGING not in [entry.name for entry in listing.entries]
        for path in (f"/data/{STAGING}", f"/data/{STAGING}/0"):
            assert (await scene.ask(stat=wire.PathAsk(path=path))).errno == errno.ENOENT
            assert (await scene.ask(open=wire.OpenAsk(path=path))).errno == errno.ENOENT
        assert (await scene.ask(make_directory=f"/out/{STAGING}")).errno == errno.ENOENT

    on_gate(tmp_path, scenario)


def test_a_file_that_is_opened_to_write_and_read_has_been_read(tmp_path):
    async def scenario(scene: Scene) -> None:
        await scene.ask(open=wire.OpenAsk(path="/out/f", write=True, create=True))
        assert [one.event_text for one in scene.gate._standing.fired] == ["read /out/**"]

    on_gate(tmp_path, scenario, 'after: [{event: "read /out/**", revoke: [network]}]\n')


def test_a_descriptor_whose_outcome_cannot_be_recorded_is_closed_and_not_passed(tmp_path):
    async def scenario(scene: Scene) -> None:
        docket, request = scene.gate._docket, FileRequest(FileAction.READ, "/data/a.csv")
        head = await docket.allowed(request, docket.decide(request))
        scene.store.close()
        passed = os.open(scene.data / "a.csv", os.O_RDONLY)
        with pytest.raises(AuditUnavailable):
            Handles(docket).reply(Result(wire.Answer(), passed), [head], request.path)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(passed)

    on_gate(tmp_path, scenario)


def test_the_door_is_read_in_one_sitting():
    """
    What grows there has an idea of its own, and so a module.
    """
    assert len(Path(gate.__file__).read_text().splitlines()) <= 230
