"""
What a guest does with files, by name; run in `fuse_guest.py`, and by plain Python to compare.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import runpy
import signal
import socket
import threading
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)


def read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().decode("latin-1")


def write(path: str, text: str, how: str = "wb") -> int:
    with open(path, how) as file:
        return file.write(text.encode("latin-1"))


def listing(path: str) -> list[str]:
    return sorted(os.listdir(path))


def status(path: str) -> dict[str, Any]:
    found = os.stat(path, follow_symlinks=False)
    return {
        "mode": found.st_mode,
        "size": found.st_size,
        "mtime": found.st_mtime_ns,
        "uid": found.st_uid,
    }


def size_of(path: str) -> int:
    return os.stat(path).st_size


def exists(path: str) -> bool:
    return os.path.exists(path)


def call(name: str, *arguments: Any) -> Any:
    """
    A function of `os`, with what can be told of its result.
    """
    done = getattr(os, name)(*arguments)
    return done if isinstance(done, (int, str, list, type(None))) else str(done)


def bytes_call(name: str, *arguments: Any) -> Any:
    """
    The same where paths are given in latin-1 for bytes.
    """
    raw = [one.encode("latin-1") if isinstance(one, str) else one for one in arguments]
    getattr(os, name)(*raw)


def dated(path: str, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


def total_space(path: str) -> list[int]:
    found = os.statvfs(path)
    return [found.f_blocks * found.f_frsize, found.f_files, found.f_namemax]


def libc(name: str, *arguments: Any) -> int:
    """
    A function of the C library, by its name; strings become bytes.
    """
    raw = [one.encode() if isinstance(one, str) else one for one in arguments]
    result = getattr(_LIBC, name)(*raw)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return int(result)


def append_twice(path: str) -> str:
    with open(path, "ab") as one, open(path, "ab") as other:
        one.write(b"1")
        one.flush()
        other.write(b"2")
        other.flush()
        one.write(b"3")
    return read(path)


def unlink_open(path: str) -> list[Any]:
    """
    A file that is removed while it is open: what is read and known of it afterwards.
    """
    with open(path, "r+b") as file:
        os.unlink(path)
        file.write(b"xyz")
        file.flush()
        file.seek(0)
        return [file.read().decode(), os.fstat(file.fileno()).st_size, os.path.exists(path)]


def mapped(path: str) -> str:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:2] = b"MM"
        memory.flush()
        return bytes(memory).decode()


def mapped_to_append(path: str) -> int:
    with open(path, "a+b") as file:
        return len(mmap.mmap(file.fileno(), 0))


def write_on_reader(path: str) -> int:
    opened = os.open(path, os.O_RDONLY)
    try:
        return os.write(opened, b"x")
    finally:
        os.close(opened)


def truncate_reader(path: str) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.ftruncate(opened, 0)
    finally:
        os.close(opened)


def truncate_open(path: str, size: int) -> int:
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), size)
        return os.fstat(file.fileno()).st_size


def synchronised(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"s")
        file.flush()
        os.fsync(file.fileno())
    opened = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


def locked(path: str) -> str:
    with open(path, "r+b") as one:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.lockf(one, fcntl.LOCK_EX)
        return "locked"


def holes(path: str) -> int:
    opened = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(opened, 0, os.SEEK_HOLE)
    finally:
        os.close(opened)


def made(path: str, flags: int) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600))


def make_many(directory: str, count: int) -> int:
    """
    How many files are made before one is refused; the errno is negative.
    """
    for place in range(count):
        try:
            made(f"{directory}/many{place}", 0)
        except OSError as error:
            return place if error.errno == errno.EDQUOT else -(error.errno or 1)
    return count


def fill(path: str, piece: int, most: int) -> list[int]:
    """
    Bytes written before a write is refused, and that errno.
    """
    done = 0
    with open(path, "wb", buffering=0) as file:
        while done < most:
            try:
                done += file.write(bytes(piece))
            except OSError as error:
                return [done, error.errno or 0]
    return [done, 0]


def threads_append(path: str, threads: int, size: int) -> int:
    def run() -> None:
        with open(path, "ab", buffering=0) as file:
            try:
                file.write(bytes(size))
            except OSError:
                return

    running = [threading.Thread(target=run) for _ in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return os.stat(path).st_size


def walked(path: str) -> list[int]:
    """
    Directories and files below, all looked at.
    """
    directories = files = 0
    for above, _, names in os.walk(path):
        directories += 1
        for name in names:
            os.stat(f"{above}/{name}")
            files += 1
    return [directories, files]


def many_open(path: str, count: int) -> list[int]:
    held = []
    try:
        for _ in range(count):
            held.append(os.open(path, os.O_RDONLY))  # noqa: PERF401 - each may be refused
    except OSError as error:
        return [len(held), error.errno or 0]
    finally:
        for one in held:
            os.close(one)
    return [len(held), 0]


def connect_nowhere() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("/nowhere")


def refused_calls(count: int) -> list[int]:
    """
    What a forbidden call says, each time.
    """
    found = set()
    for _ in range(count):
        try:
            socket.sethostname("x")
        except OSError as error:
            found.add(error.errno or 0)
    return sorted(found)


def refused_calls_under_signals(count: int) -> list[int]:
    """
    The same while a timer calls the caller away again and again.
    """
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 2e-5, 2e-5)
    try:
        return refused_calls(count)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def interrupted_read(path: str, after: float) -> str:
    """
    Read while a timer interrupts: what the reader sees.
    """
    signal.signal(signal.SIGALRM, lambda *_: _raise())
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        return read(path)
    except TimeoutError:
        return "interrupted"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _raise() -> None:
    raise TimeoutError


def raced(path: str, times: int) -> dict[str, int]:
    """
    What reading and writing a path showed, so many times: the text, or the errno.
    """
    seen: dict[str, int] = {}
    for place in range(times):
        try:
            found = read(path) if place % 2 else str(write(path, "inside", "r+b") and "inside")
        except OSError as error:
            found = str(error.errno)
        seen[found] = seen.get(found, 0) + 1
    return seen


def imported(directory: str, name: str) -> str:
    return str(runpy.run_path(f"{directory}/{name}.py")["VALUE"])


def sum_of(path: str, piece: int) -> int:
    total = 0
    with open(path, "rb", buffering=0) as file:
        while data := file.read(piece):
            total += len(data)
    return total
