"""
The client with the real server: what a model's code does comes back as it should.
"""

import threading
import time

import pytest
import scripted as scripts

import agent_client
from agent_client import Ended, Output, SessionState, Started, Status

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def real_cage():
    with agent_client.connect() as cage:
        yield cage


@pytest.fixture
def real(real_cage):
    with real_cage.session() as session:
        yield session


def state(cage, session):
    (told,) = [one.state for one in cage.sessions() if one.id == session.id]
    return told


def test_names_of_one_cell_are_there_in_the_next(real):
    assert real.run("x = 20").text == "[no output]"
    assert real.run("print('x is', x)\nx * 2").text == "x is 20\n40"


def test_what_raises_is_told_with_frames_of_the_guest_and_the_session_goes_on(real):
    observation = real.run("kept = 1\n1 / 0")
    assert observation.error.name == "ZeroDivisionError"
    assert observation.text.splitlines()[0] == "Traceback (most recent call last):"
    assert 'File "<cell 1>", line 2' in observation.text
    assert real.run("kept").value == "1"


def test_a_cell_over_its_time_is_ended_and_its_output_and_names_stay(real):
    observation = real.run("print('begun')\ny = 5\nwhile True: pass", timeout=2)
    assert observation.status is Status.TIMED_OUT
    assert observation.stdout == "begun\n"
    assert observation.text.endswith("the session's variables are kept]")
    assert real.run("y").value == "5"


def test_interrupting_ends_the_cell_and_names_stay(real):
    results = []
    running = threading.Event()

    def observe():
        code = "z = 7\nprint('on', flush=True)\nwhile True: pass"
        results.append(real.run(code, on_output=lambda *_: running.set()))

    thread = threading.Thread(target=observe)
    thread.start()
    assert running.wait(scripts.PATIENCE)
    assert real.interrupt() is True
    thread.join(scripts.PATIENCE)
    assert results[0].status is Status.INTERRUPTED
    assert real.run("z").value == "7"


def test_leaving_a_stream_early_frees_the_session(real_cage, real):
    events = real.stream("print('on', flush=True)\nwhile True: pass")
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Output)
    events.close()
    # Not at once: who follows before the server has heard of it is a reader for whom it goes on.
    end_of_patience = time.monotonic() + scripts.PATIENCE
    while state(real_cage, real) is not SessionState.IDLE:
        assert time.monotonic() < end_of_patience
    (end,) = [event for event in real.follow(1, after=2) if isinstance(event, Ended)]
    assert end.status is Status.INTERRUPTED
    assert real.run("1 + 1").value == "2"


def test_output_over_the_limit_is_cut_and_both_numbers_are_told(real):
    observation = real.run("print('x' * 5_000_000, end='')")
    assert observation.truncated
    assert observation.shown_bytes == len(observation.stdout) == 1_048_576
    mark = "[output truncated: 1,048,576 of 5,000,000 bytes shown]"
    assert observation.text.endswith(mark)
    assert len(observation.text) <= 20_000


def test_exit_ends_the_cell_only(real):
    assert real.run("w = 3\nexit(4)").text.startswith("[exit(4) ended the cell")
    assert real.run("w").value == "3"


def test_bytes_of_any_kind_arrive(real):
    code = "import sys; sys.stdout.buffer.write(b'\\xff\\x00\\x1b[2J'); sys.stdout.flush()"
    assert real.run(code).stdout == "\\xff\x00\x1b[2J"
    assert real.run("print('\\ud800')").stdout == "\\ud800\n"
    assert real.run("raise ValueError('\\ud800\\0')").error.message == "\\ud800\0"


def test_files_go_in_and_come_out(real):
    data = bytes(range(256)) * 5000
    assert real.put("/work/in/data.bin", data).size == len(data)
    assert real.run("len(open('/work/in/data.bin', 'rb').read())").value == str(len(data))
    real.run("open('/work/out.txt', 'w').write('from inside')")
    assert real.get("/work/out.txt") == b"from inside"
    assert "/work/out.txt" in {file.path for file in real.files("/work")}
    real.remove("/work/out.txt")
    with pytest.raises(agent_client.PathNotFound):
        real.get("/work/out.txt")


def test_a_second_cell_at_the_same_time_is_refused_and_the_first_goes_on(real):
    events = real.stream("print('on', flush=True)\nwhile True: pass")
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Output)
    with pytest.raises(agent_client.CellRunning) as caught:
        real.run("1")
    assert caught.value.metadata == {"cell": "1"}
    real.interrupt()
    *_, end = events
    assert end.status is Status.INTERRUPTED


def test_errors_of_the_server_are_ours(real_cage, real):
    with pytest.raises(agent_client.PolicyNotFound, match="'analist'"):
        real_cage.session("analist")
    with pytest.raises(agent_client.SessionNotFound):
        real_cage.attach("0" * 32)
    with pytest.raises(agent_client.InvalidRequest, match="1048577 bytes"):
        real.run("#" * (2**20 + 1))
    with pytest.raises(agent_client.InvalidRequest):
        list(real.follow(1))


def test_a_denied_file_is_counted_and_recorded(real):
    observation = real.run("open('/etc/passwd').read()")
    assert observation.error.name in {"FileNotFoundError", "PermissionError"}
    events = [record.event for record in real.audit()]
    assert "session.create" in events
    assert events[-1] == "cell.end"


def test_a_session_is_found_again_by_its_id(real_cage, real):
    real.run("v = 11")
    again = real_cage.attach(real.id)
    assert again.run("v").value == "11"
    (told,) = [one for one in real_cage.sessions() if one.id == real.id]
    assert (told.state, told.cells) == (SessionState.IDLE, 2)
