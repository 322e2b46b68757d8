import signal
import subprocess
import sys

import pytest

from executor.linux.pidfd import Process

WAITING = "import sys; sys.stdout.write('+'); sys.stdout.flush(); sys.stdin.read()"
BUSY = "import sys; sum(range(3_000_000)); " + WAITING


@pytest.fixture
def child():
    started = []

    def start(script: str = WAITING) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.read(1) == b"+"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_kernel_says_how_much_memory_a_process_has_had(child):
    script = "kept = b'x' * (50 << 20); del kept; " + WAITING
    less, more = child(), child(script)
    with Process(less.pid) as one, Process(more.pid) as other:
        peaks = one.memory_peak(), other.memory_peak()
        assert None not in peaks
        assert peaks[1] - peaks[0] > 40 << 20
        more.kill()
        assert other.ended(None)
        with pytest.raises(ProcessLookupError):
            other.memory_peak()


def test_a_running_process_has_not_ended_and_a_killed_one_has(child):
    running = child()
    with Process(running.pid) as held:
        assert held.ended() is False
        held.send(0)
        held.send(signal.SIGKILL)
        assert held.ended(None) is True
        assert running.wait() == -signal.SIGKILL
        assert held.ended() is True


def test_waiting_for_a_running_process_gives_up(child):
    with Process(child().pid) as held:
        assert held.ended(0.001) is False


def test_a_signal_to_a_reaped_process_reaches_nobody(child):
    running = child()
    with Process(running.pid) as held:
        running.kill()
        running.wait()
        with pytest.raises(ProcessLookupError):
            held.send(0)


def test_cpu_time_counts_work_and_not_waiting(child):
    with Process(child(BUSY).pid) as busy, Process(child().pid) as idle:
        first, second = idle.cpu_time(), idle.cpu_time()
        assert busy.cpu_time() > idle.cpu_time() > 0
        assert second == first


@pytest.mark.parametrize("reaped", [False, True])
def test_cpu_time_of_an_ended_process_is_not_asked_of_its_number(child, reaped):
    running = child()
    with Process(running.pid) as held:
        running.kill()
        assert held.ended(None)
        if reaped:
            running.wait()
        with pytest.raises(ProcessLookupError, match=f"process {running.pid} has ended"):
            held.cpu_time()


def test_a_process_that_is_gone_cannot_be_opened(child):
    running = child()
    running.kill()
    running.wait()
    with pytest.raises(ProcessLookupError, match=f"process {running.pid} has ended"):
        Process(running.pid)


def test_closing_twice_closes_once(child):
    held = Process(child().pid)
    assert held.fileno() > 2
    held.close()
    held.close()
    assert held.fileno() == -1
