import os
import subprocess
import sys
import threading

import pytest

from executor.linux import clone, namespaces, userns
from executor.linux.errors import MechanismFailed
from executor.linux.namespaces import ALL, Namespace

# Leaves the namespaces that its argument names, says so, and waits.
LEAVING = (
    "import ctypes, sys\n"
    "assert ctypes.CDLL(None).unshare(int(sys.argv[1])) == 0\n"
    "print('left', flush=True); sys.stdin.read()"
)


def test_all_are_the_seven_that_a_box_has():
    assert len(list(ALL)) == 7
    assert int(ALL) == 0x7E02_0000


def test_a_process_shares_everything_with_itself_and_with_a_plain_child():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert namespaces.shared(os.getpid()) == ALL
    assert namespaces.shared(child.pid) == ALL
    child.communicate(b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="leaving a namespace needs root")
@pytest.mark.parametrize("kind", [Namespace.HOST_NAME, Namespace.NETWORK, Namespace.IPC])
def test_a_namespace_that_was_left_is_not_shared(kind):
    child = subprocess.Popen(
        [sys.executable, "-c", LEAVING, str(int(kind))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == b"left\n"
    assert namespaces.shared(child.pid) == ALL & ~kind
    child.communicate()


def test_a_process_that_is_gone_cannot_be_compared():
    with pytest.raises(MechanismFailed, match="/proc/2147483647/ns/"):
        namespaces.shared(2**31 - 1)


def test_a_process_with_threads_is_not_cloned():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(MechanismFailed, match="where there may be one"):
            clone.clone(ALL)
    finally:
        done.set()
        thread.join()


def test_the_users_of_an_old_namespace_cannot_be_mapped_again():
    with pytest.raises(MechanismFailed, match="/proc/.*_map|setgroups"):
        userns.map_one(os.getpid(), 1000, 4711, 4711)
