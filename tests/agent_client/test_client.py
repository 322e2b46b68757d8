import threading
from pathlib import Path

import pytest
import scripted as scripts

import agent_client
from agent_client import Ended, Output, SessionState, Started, Status, Stream, Value


def test_what_the_server_says_of_itself_arrives(cage, server):
    info = cage.info()
    assert (info.version, info.user, info.max_code_bytes) == ("0.1.0", "nobody", 9)
    assert info.images == (agent_client.ImageInfo("core", "k", "3.14.2", ("sympy",)),)
    assert cage.address == server.address


def test_policies_and_sessions_are_listed(cage):
    assert [policy.name for policy in cage.policies()] == ["analyst", "calculator"]
    assert cage.policies()[0].limits.wall_time == 60.0
    assert cage.policies()[0].mounts == (agent_client.Mount("/data", False, False),)
    assert [policy.image for policy in cage.policies()] == ["core", "core"]
    assert [policy.images for policy in cage.policies()] == [("core", "data"), ("core",)]
    (session,) = cage.sessions()
    assert (session.id, session.state) == ("s1", SessionState.IDLE)
    assert session.created.isoformat() == "2023-11-14T22:13:20+00:00"


def test_a_session_has_an_id_a_policy_and_labels(cage, server):
    session = cage.session("analyst", labels={"run": "7"})
    assert (session.id, session.policy) == ("s1", "analyst")
    assert dict(server.created[0].labels) == {"run": "7"}
    assert session.info.labels == {"run": "7"}


def test_a_session_without_a_policy_asks_for_the_built_in_one(cage, server):
    assert cage.session().policy == "calculator"
    assert server.created[0].policy == ""


def test_an_unknown_policy_is_an_error_that_names_it_and_says_where_to_look(cage):
    with pytest.raises(agent_client.PolicyNotFound) as caught:
        cage.session("analist")
    assert "'analist'" in str(caught.value)
    assert "Cage.policies()" in str(caught.value)
    assert caught.value.reason == "POLICY_NOT_FOUND"


@pytest.mark.parametrize(("asked", "image"), [(None, "core"), ("data", "data")])
def test_a_session_has_the_image_that_was_asked_for_or_the_policys_first(
    cage, server, asked, image
):
    session = cage.session("analyst", image=asked)
    assert (session.image, session.info.image) == (image, image)
    assert server.created[0].image == (asked or "")
    assert repr(session) == f"<Session s1 policy='analyst' image='{image}' open>"


def test_an_image_that_the_policy_does_not_have_is_denied_by_name(cage):
    with pytest.raises(agent_client.Denied, match="^policy 'analyst': ") as caught:
        cage.session("analyst", image="denied")
    assert caught.value.reason == "IMAGE_NOT_ALLOWED"
    assert caught.value.metadata["allowed"] == "core data"


def test_an_image_that_the_server_does_not_have_is_no_request_for_it(cage):
    with pytest.raises(agent_client.InvalidRequest) as caught:
        cage.session("analyst", image="missing")
    assert (caught.value.reason, caught.value.metadata) == (
        "IMAGE_NOT_BUILT",
        {"image": "missing"},
    )


def test_half_a_surrogate_pair_is_no_name_of_an_image(cage, server):
    with pytest.raises(agent_client.InvalidRequest, match="the image's name holds half"):
        cage.session(image="\ud800")
    assert server.created == []


def test_leaving_the_with_block_closes_the_session(cage, server):
    with cage.session() as session:
        session.run("pass")
    assert server.closed == ["s1"]


def test_closing_twice_asks_the_server_once(cage, server):
    session = cage.session()
    assert str(session.close()) == "9:01"
    assert session.close() is None
    assert server.closed == ["s1"]


def test_closing_a_session_whose_idle_time_is_over_is_no_error(cage, server):
    session = cage.session()
    server.closed.append(session.id)
    assert session.close() is None


def test_a_closed_session_says_that_this_program_closed_it(session):
    session.close()
    with pytest.raises(agent_client.SessionClosed, match="closed by this program"):
        session.run("2 + 2")


def test_a_closed_connection_says_that_this_program_closed_it(cage):
    session = cage.session()
    cage.close()
    cage.close()
    with pytest.raises(agent_client.SessionClosed, match="the connection was closed"):
        session.run("2 + 2")


def test_the_error_inside_the_block_is_not_hidden_by_the_one_of_closing(server):
    cage = agent_client.connect(server.address)

    def scenario():
        with cage.session():
            cage.close()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        scenario()


def test_attaching_to_a_session_gives_it_and_to_an_unknown_one_does_not(cage):
    assert cage.attach("s1").id == "s1"
    with pytest.raises(agent_client.SessionNotFound):
        cage.attach("s2")


def test_output_is_given_as_it_comes(session):
    seen = []
    session.run("both", on_output=lambda stream, text: seen.append((stream, text)))
    assert seen == [
        ("stdout", "out 1\n"),
        ("stderr", "err 1\n"),
        ("stdout", "out"),
        ("stdout", " 2\n"),
    ]


def test_events_are_typed_and_end_with_the_end(session):
    events = list(session.stream("both"))
    assert events[0] == Started(cell=1)
    assert events[1] == Output(Stream.STDOUT, "out 1\n")
    assert events[5] == Value("'v'", 3, truncated=False)
    assert isinstance(events[-1], Ended)
    assert events[-1].status is Status.OK


def test_following_a_cell_goes_on_after_the_event_last_seen(session):
    (end,) = session.follow(1, after=6)
    assert isinstance(end, Ended)
    assert isinstance(next(session.follow(1)), Started)


def test_following_a_cell_that_is_not_kept_is_an_error(session):
    with pytest.raises(agent_client.InvalidRequest, match="CELL_NOT_FOUND"):
        list(session.follow(2))
    with pytest.raises(agent_client.InvalidRequest, match="cells count from 1"):
        session.follow(0)


def test_interrupting_ends_the_cell_and_keeps_the_session(session, server):
    results = []
    thread = threading.Thread(target=lambda: results.append(session.run("wait")))
    thread.start()
    assert server.running.wait(scripts.PATIENCE)
    assert session.interrupt() is True
    thread.join(scripts.PATIENCE)
    assert results[0].status is Status.INTERRUPTED
    assert results[0].text == "waiting\n[interrupted; the session's variables are kept]"
    assert session.run("2 + 2").value == "4"


def test_interrupting_an_idle_session_says_that_no_cell_ran(session):
    assert session.interrupt() is False


def test_an_exception_in_on_output_cancels_the_cell(session, server):
    def refuse(_stream, _text):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        session.run("endless", on_output=refuse)
    # While the traceback is alive, and with it every frame of the call.
    assert caught.tb is not None
    assert server.cancelled.wait(scripts.PATIENCE)


def test_leaving_a_stream_early_cancels_the_cell(session, server):
    events = session.stream("endless")
    assert next(events) == Started(cell=1)
    assert not server.cancelled.is_set()
    events.close()
    assert server.cancelled.wait(scripts.PATIENCE)


def test_a_cell_is_cancelled_with_its_connection_unless_it_is_to_be_kept(session, server):
    session.run("pass")
    session.run("pass", keep=30, timeout=1.5)
    cancelled, kept = server.executed
    assert cancelled.WhichOneof("on_disconnect") == "cancel"
    assert not cancelled.HasField("wall_time")
    assert kept.keep.duration.ToSeconds() == 30
    assert kept.wall_time.ToMilliseconds() == 1500


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_timeout_that_is_none_is_refused_before_anything_runs(session, server, timeout):
    with pytest.raises(agent_client.InvalidRequest, match="timeout is"):
        session.run("pass", timeout=timeout)
    assert server.executed == []


def test_code_with_half_a_surrogate_pair_is_refused_and_says_where(session, server):
    with pytest.raises(agent_client.InvalidRequest, match=r"U\+D800 at index 7"):
        session.run("print('\ud800')")
    assert server.executed == []
    assert session.run("print('\U0001f600\0')").stdout == "print('\U0001f600\0')"


def test_files_go_in_and_come_out_unchanged(session, server, directory):
    data = bytes(range(256)) * 3000
    local = directory / "local"
    local.write_bytes(data)
    assert session.put("/work/a", data).size == len(data)
    session.put("/work/b", local)
    session.put("/work/empty", b"")
    assert session.get("/work/a") == session.get("/work/b") == data
    assert session.get("/work/empty") == b""
    assert [file.path for file in session.files()] == ["/work/a", "/work/b", "/work/empty"]
    session.remove("/work/a")
    assert set(server.files) == {"/work/b", "/work/empty"}


def test_a_file_that_is_not_there_is_an_error(session):
    with pytest.raises(agent_client.PathNotFound):
        session.get("/work/none")
    with pytest.raises(agent_client.PathNotFound):
        session.remove("/work/none")


@pytest.mark.parametrize("path", ["work/a", "", "/work/\0", "/\udc80"])
def test_a_path_that_can_name_nothing_is_refused_here(session, server, path):
    with pytest.raises(agent_client.InvalidRequest):
        session.put(path, b"x")
    assert server.files == {}


def test_put_takes_bytes_or_a_path_and_no_text(session, directory):
    with pytest.raises(agent_client.InvalidRequest, match="was given a str"):
        session.put("/work/a", "text")
    with pytest.raises(FileNotFoundError):
        session.put("/work/a", Path(directory / "none"))


def test_audit_records_come_in_order_and_after_a_number(session):
    assert [record.sequence for record in session.audit()] == [1, 2, 3]
    (last,) = session.audit(after=2)
    assert (last.event, last.decision) == ("decision", "deny")


def test_nobody_at_the_address_is_an_error_that_says_what_to_do(directory):
    with pytest.raises(agent_client.ServerUnavailable) as caught:
        agent_client.connect(f"unix:{directory}/none")
    assert f"unix:{directory}/none" in str(caught.value)
    assert "codecage serve" in str(caught.value)


def test_the_address_comes_from_the_environment_where_none_is_given(server, monkeypatch):
    monkeypatch.setenv("CODECAGE_ADDRESS", server.address)
    with agent_client.connect() as cage:
        assert cage.address == server.address


def test_an_absolute_address_may_be_written_in_both_ways(server):
    path = server.address.removeprefix("unix:")
    with agent_client.connect(f"unix://{path}") as cage:
        assert cage.address == server.address


@pytest.mark.parametrize("address", ["localhost:50051", "unix:", "unix:/", "/run/sock", "unix:\0"])
def test_an_address_that_is_no_unix_socket_is_refused(address):
    with pytest.raises(agent_client.InvalidRequest, match="unix:PATH"):
        agent_client.connect(address)


def test_an_address_and_a_private_server_exclude_each_other(server):
    with pytest.raises(agent_client.InvalidRequest, match="leave out one or the other"):
        agent_client.connect(server.address, policies="somewhere")
