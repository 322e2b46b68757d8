"""
System calls by name: what goes over, and what comes back.
"""

import errno
import os

import pytest

from executor.linux import proc
from executor.linux.libc import call

_HERE = -100


def test_numbers_go_over_whole_and_what_is_missing_is_zero():
    assert call("getpid") == os.getpid()
    file = call("memfd_create", b"large")
    assert call("ftruncate", file, 1 << 33) == 0
    assert os.fstat(file).st_size == 1 << 33
    os.close(file)
    with pytest.raises(OSError, match="ftruncate") as refused:
        call("ftruncate", file, -1)
    assert refused.value.errno in {errno.EBADF, errno.EINVAL}


def test_bytes_go_over_as_their_address(tmp_path):
    place = tmp_path / "made"
    assert call("mkdirat", _HERE, os.fsencode(place), 0o700) == 0
    assert place.is_dir()
    with pytest.raises(FileExistsError):
        call("mkdirat", _HERE, os.fsencode(place), 0o700)


def test_an_unknown_name_is_not_a_call():
    with pytest.raises(KeyError, match="no_such_call"):
        call("no_such_call")


def test_a_file_is_read_whole_and_written_at_once(tmp_path):
    place = tmp_path / "file"
    place.write_bytes(b"x" * 100_000)
    assert proc.read(str(place)) == b"x" * 100_000
    proc.write(str(place), b"y")
    assert place.read_bytes()[:2] == b"yx"
    with pytest.raises(FileNotFoundError):
        proc.read(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        proc.write(str(tmp_path / "none"), b"x")
