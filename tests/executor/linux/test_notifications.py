"""
Refused calls that wait for an answer, of a child that asks for real.
"""

import errno
import os
import resource
import select
import socket
from pathlib import Path

import pytest

from executor.linux import notifications
from executor.linux.errors import MechanismFailed
from executor.linux.filters import ALLOW, NOTIFY, Filter, Refuse, compile_filter
from executor.linux.libc import call
from executor.linux.notifications import Notification
from executor.linux.seccomp import install_watched
from executor.linux.syscalls import NUMBERS

FILTER = Filter("test", (Refuse("mount", "for a test", NOTIFY),), ALLOW)


@pytest.fixture
def asking():
    """
    A child that asks for a mount when it is told to, its listener, and what it heard.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _ask(theirs)
    theirs.close()
    _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
    yield ours, listener
    ours.close()
    os.close(listener)
    os.waitpid(pid, 0)


def _ask(channel):
    try:
        listener = install_watched(compile_filter(FILTER, os.getpid()))
        socket.send_fds(channel, [b"x"], [listener])
        os.close(listener)
        while channel.recv(1):
            try:
                channel.send(b"%d" % call("mount", 1, 2, 3, 4, 5))
            except OSError as error:
                channel.send(errno.errorcode[error.errno].encode())
    finally:
        os._exit(0)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_a_call_waits_and_gets_the_errno_that_it_is_answered(asking, number):
    channel, listener = asking
    assert notifications.receive(listener) is None
    channel.send(b"x")
    assert select.select([listener], [], [], 20)[0], "nobody asked"
    waiting = notifications.receive(listener)
    assert waiting is not None
    assert (waiting.number, waiting.arguments) == (NUMBERS["mount"], (1, 2, 3, 4, 5, 0))
    assert notifications.refuse(listener, waiting, number)
    assert channel.recv(10) == errno.errorcode[number].encode()
    assert not notifications.refuse(listener, waiting, number)


def _waiting(channel, listener):
    channel.send(b"x")
    assert select.select([listener], [], [], 20)[0], "nobody asked"
    waiting = notifications.receive(listener)
    assert waiting is not None
    return waiting


def test_a_call_waits_until_it_is_told_that_it_is_done(asking):
    channel, listener = asking
    waiting = _waiting(channel, listener)
    assert notifications.is_waiting(listener, waiting)
    assert notifications.accept(listener, waiting)
    assert channel.recv(10) == b"0"
    assert not notifications.is_waiting(listener, waiting)
    assert not notifications.accept(listener, waiting)


@pytest.mark.parametrize("cloexec", [True, False])
def test_a_call_is_answered_with_a_descriptor_of_the_callers_own(cloexec, asking):
    channel, listener = asking
    waiting = _waiting(channel, listener)
    with open(os.devnull) as given:
        number = notifications.give(listener, waiting, given.fileno(), cloexec=cloexec)
        assert channel.recv(10) == b"%d" % number
        flags = Path(f"/proc/{waiting.pid}/fdinfo/{number}").read_text().split("flags:")[1]
        assert bool(int(flags.split()[0], 8) & os.O_CLOEXEC) == cloexec
        assert os.readlink(f"/proc/{waiting.pid}/fd/{number}") == os.devnull
        with pytest.raises(ProcessLookupError):
            notifications.give(listener, waiting, given.fileno(), cloexec=cloexec)


def test_a_caller_with_no_room_for_a_descriptor_waits_on(asking):
    channel, listener = asking
    waiting = _waiting(channel, listener)
    resource.prlimit(waiting.pid, resource.RLIMIT_NOFILE, (3, 3))
    with open(os.devnull) as given, pytest.raises(OSError, match="Too many open files"):
        notifications.give(listener, waiting, given.fileno(), cloexec=True)
    assert notifications.refuse(listener, waiting, errno.EMFILE)
    assert channel.recv(10) == b"EMFILE"


def test_without_its_listener_a_call_is_said_not_to_exist(asking):
    channel, listener = asking
    # Something else under its number, so that the fixture has something to close.
    with open(os.devnull) as other:
        os.dup2(other.fileno(), listener)
    channel.send(b"x")
    assert channel.recv(10) == b"ENOSYS"


def test_what_is_no_listener_is_refused():
    reading, writing = os.pipe()
    os.write(writing, b"x")
    with pytest.raises(MechanismFailed, match="receiving one"):
        notifications.receive(reading)
    with pytest.raises(MechanismFailed, match="answering one"):
        notifications.refuse(reading, Notification(1, 2, 3, ()), errno.EPERM)
    with pytest.raises(MechanismFailed, match="looking at one"):
        notifications.is_waiting(reading, Notification(1, 2, 3, ()))
    with pytest.raises(MechanismFailed, match="giving a descriptor"):
        notifications.give(reading, Notification(1, 2, 3, ()), writing, cloexec=True)
    for number in (reading, writing):
        os.close(number)
