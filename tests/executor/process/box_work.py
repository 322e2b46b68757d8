"""
What programs do all day, each as one function: all of it must work in a box as it does outside.
"""

import asyncio
import bz2
import contextlib
import csv
import ctypes
import faulthandler
import fcntl
import gzip
import io
import json
import lzma
import math
import mmap
import os
import pickle
import queue
import random
import resource
import select
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import tarfile
import tempfile
import threading
import time
import uuid
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DONE = "done"


def files(_host):
    path = Path("a", "b")
    path.mkdir(parents=True)
    (path / "text").write_text("one\ntwo\n")
    (path / "text").rename(path / "other")
    os.link(path / "other", path / "hard")
    os.symlink("other", path / "soft")
    assert (path / "soft").read_text() == "one\ntwo\n"
    assert os.readlink(path / "soft") == "other"
    os.chmod(path / "other", 0o600)
    os.utime(path / "other", (1, 2))
    assert (path / "other").stat().st_mtime == 2
    os.truncate(path / "other", 3)
    with open(path / "other", "r+b") as file:
        file.truncate(2)
        os.fsync(file.fileno())
        os.posix_fallocate(file.fileno(), 0, 8192)
        assert os.pread(file.fileno(), 3, 0) == b"on\0"
        os.pwrite(file.fileno(), b"z", 1)
        assert os.preadv(file.fileno(), [bytearray(2)], 0) == 2
    assert stat.S_IMODE((path / "other").stat().st_mode) == 0o600
    shutil.copytree("a", "c", symlinks=True)
    shutil.copy2(path / "other", "copied")
    assert sorted(os.listdir("c/b")) == ["hard", "other", "soft"]
    os.chdir("c")
    assert os.getcwd().endswith("/c")
    os.chdir("..")
    shutil.rmtree("a")
    assert shutil.disk_usage(".").total > 0
    return DONE


def temporary(_host):
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "x").write_text("x")
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    return DONE


def database(_host):
    with sqlite3.connect("data.sqlite") as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table t(a, b)")
        connection.executemany("insert into t values(?, ?)", [(n, str(n)) for n in range(1000)])
    found = connection.execute("select sum(a) from t").fetchone()
    connection.close()
    assert found == (499500,)
    return DONE


def archives(_host):
    Path("in").write_text("content" * 100)
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.write("in")
    with tarfile.open("x.tar.gz", "w:gz") as made:
        made.add("in")
    with tarfile.open("x.tar.gz") as made:
        # Before Python 3.11.4 there is no filter to name.
        chosen = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        made.extractall("out", **chosen)
    assert Path("out/in").read_text() == Path("in").read_text()
    for module in (gzip, bz2, lzma, zlib):
        assert module.decompress(module.compress(b"x" * 1000)) == b"x" * 1000
    return DONE


def texts(_host):
    held = io.StringIO()
    csv.writer(held).writerows([(1, "a"), (2, "b")])
    assert list(csv.reader(io.StringIO(held.getvalue()))) == [["1", "a"], ["2", "b"]]
    assert json.loads(json.dumps({"a": [1.5, None]})) == {"a": [1.5, None]}
    assert pickle.loads(pickle.dumps({1, 2})) == {1, 2}
    return DONE


def threads(_host):
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(math.factorial, range(10))) == 409114
    waiting: queue.Queue[int] = queue.Queue()
    threads_made = [threading.Thread(target=waiting.put, args=(n,)) for n in range(5)]
    for thread in threads_made:
        thread.start()
    for thread in threads_made:
        thread.join()
    assert sorted(waiting.get() for _ in range(5)) == [0, 1, 2, 3, 4]
    condition = threading.Condition()
    with condition:
        assert not condition.wait(0.001)
    return DONE


async def _pair():
    reader, writer = await asyncio.open_connection(sock=ENDS[0])
    other_reader, other_writer = await asyncio.open_connection(sock=ENDS[1])
    writer.writelines([b"hello\n", b"more\n"])
    await writer.drain()
    assert await other_reader.readline() == b"hello\n"
    other_writer.close()
    writer.close()
    assert await asyncio.to_thread(math.factorial, 5) == 120
    await asyncio.sleep(0.001)
    assert await asyncio.wait_for(asyncio.gather(_one(), _one()), 5) == [1, 1]
    assert reader is not None


async def _one():
    return 1


ENDS: list[socket.socket] = []


def event_loop(_host):
    ENDS[:] = socket.socketpair()
    asyncio.run(_pair())
    return DONE


def descriptors(_host):
    reading, writing = os.pipe()
    poll, epoll = select.poll(), select.epoll()
    for waiting in (poll, epoll):
        waiting.register(reading, select.POLLIN)
        assert not waiting.poll(0)
    os.write(writing, b"x")
    assert select.select([reading], [], [], 0)[0] == [reading]
    assert poll.poll(0)
    assert epoll.poll(0)
    assert os.isatty(0) is False
    os.set_blocking(reading, False)
    assert os.dup2(os.dup(reading), 40) == 40
    os.closerange(40, 45)
    return DONE


def signals(_host):
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGALRM, lambda *_: seen.append(2))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.sigwait({signal.SIGALRM}) if 2 not in seen and not _waited(seen) else None
    assert seen[:2] == [1, 1]
    return DONE


def _waited(seen):
    until = time.monotonic() + 5
    while 2 not in seen and time.monotonic() < until:
        select.select([], [], [], 0.01)
    return 2 in seen


def memory(_host):
    with mmap.mmap(-1, 1 << 20) as held:
        held[:4] = b"abcd"
        held.resize(2 << 20)
        assert held[:4] == b"abcd"
    Path("mapped").write_bytes(b"x" * 8192)
    with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as held:
        held[0:1] = b"y"
        held.flush()
    assert Path("mapped").read_bytes()[:1] == b"y"
    assert len(bytearray(64 << 20)) == 64 << 20
    return DONE


def machine(_host):
    assert os.cpu_count()
    assert len(os.sched_getaffinity(0)) > 0
    assert os.uname().sysname == "Linux"
    assert os.sysconf("SC_PHYS_PAGES") > 0
    assert os.getpriority(os.PRIO_PROCESS, 0) is not None
    assert os.times().user >= 0
    assert time.process_time() > 0
    assert time.thread_time() > 0
    assert len(os.urandom(8)) == 8
    assert uuid.uuid4() != uuid.uuid4()
    random.seed()
    assert time.localtime().tm_year > 2000
    assert os.umask(0o022) is not None
    return DONE


def libraries(_host):
    assert ctypes.CDLL(None).getpid() == os.getpid()
    assert struct.unpack("<I", struct.pack("<I", 7)) == (7,)
    library = ctypes.CDLL("libm.so.6")
    library.cos.restype = ctypes.c_double
    library.cos.argtypes = [ctypes.c_double]
    assert library.cos(0.0) == 1.0
    return DONE


def late_import(_host):
    import calendar
    import html.parser
    import statistics

    assert statistics.mean([1, 2, 3]) == 2
    assert calendar.isleap(2024)
    assert html.parser.HTMLParser is not None
    return DONE


def callback(_host):
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    numbers = (ctypes.c_int * 3)(3, 1, 2)

    def compare(one, other):
        first, second = (ctypes.c_int.from_address(place).value for place in (one, other))
        return first - second

    ctypes.CDLL(None).qsort(numbers, 3, 4, kind(compare))
    assert list(numbers) == [1, 2, 3]
    return DONE


def functions(_host):
    """
    What Python's standard library offers, and no other work here happened to ask for.
    """
    ask_about_itself()
    ask_about_time()
    with open("file", "w+b") as file, open("copy", "wb") as copy:
        number = file.fileno()
        os.writev(number, [b"a", b"b"])
        os.pwritev(number, [b"c"], 0)
        os.preadv(number, [bytearray(1)], 0)
        os.readv(number, [bytearray(1)])
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_NORMAL)
        os.copy_file_range(number, copy.fileno(), 1, 0)
        os.fchmod(number, 0o600)
        os.fstatvfs(number)
        os.listxattr(number)
        fcntl.flock(number, fcntl.LOCK_EX)
        os.close(os.dup(number))
        os.close(os.dup2(number, number + 20, inheritable=False))
        for place in (number, "file"):
            with contextlib.suppress(OSError):
                os.getxattr(place, "user.none")
        with contextlib.suppress(OSError):
            os.getxattr("file", "user.none", follow_symlinks=False)
    directory = os.open(".", os.O_RDONLY)
    os.link("file", "link", src_dir_fd=directory, dst_dir_fd=directory)
    os.symlink("file", "soft", dir_fd=directory)
    os.readlink("soft", dir_fd=directory)
    os.rename("link", "other", src_dir_fd=directory, dst_dir_fd=directory)
    os.mkdir("inner", dir_fd=directory)
    os.chmod("file", 0o600, dir_fd=directory)
    os.access("file", os.R_OK)
    os.access("file", os.R_OK, dir_fd=directory)
    os.fchdir(directory)
    os.close(directory)
    one, other = socket.socketpair()
    with one, other:
        one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        one.send(b"x")
        other.recvmsg(1)
        select.select([one], [one], [], 0)
        one.shutdown(socket.SHUT_WR)
    return DONE


def ask_about_itself():
    for name in ("getppid", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid"):
        getattr(os, name)()
    for name in ("getresgid", "getpgrp", "times", "sched_yield", "getloadavg", "uname"):
        with contextlib.suppress(OSError):
            getattr(os, name)()
    os.getpgid(0), os.getsid(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_getparam(0), os.sched_getscheduler(0), os.sched_getaffinity(0)
    os.sched_get_priority_max(0), os.sched_get_priority_min(0)
    resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_NOFILE)
    for wait in (lambda: os.waitpid(-1, os.WNOHANG), lambda: os.waitid(os.P_ALL, 0, os.WEXITED)):
        with contextlib.suppress(ChildProcessError):
            wait()


def ask_about_time():
    signal.alarm(0), signal.getitimer(signal.ITIMER_REAL), signal.sigpending()
    signal.sigtimedwait({signal.SIGUSR1}, 0)
    time.clock_getres(time.CLOCK_MONOTONIC)
    time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
    time.sleep(0.001)
    faulthandler.enable(open(os.devnull, "w"))  # noqa: SIM115 - it keeps its file
    faulthandler.disable()


def leave_traces(_host):
    """
    How many files of others it sees where it may write, and what chance says.
    """
    places = (".", "/tmp", "/home/agent")
    seen = [name for place in places for name in os.listdir(place)]
    for place in places:
        Path(place, "trace").write_text("x")
    return f"{len(seen)} {random.random()}"


WORK = {
    work.__name__: work
    for work in (
        files,
        temporary,
        database,
        archives,
        texts,
        threads,
        event_loop,
        descriptors,
        signals,
        memory,
        machine,
        libraries,
        late_import,
        callback,
        functions,
    )
}
TRACES = {"leave_traces": leave_traces}
