"""
Mounts that are never attached: what they forbid is seen through their descriptors alone.
"""

import errno
import os
import stat

import pytest

from executor.linux import mounts
from executor.linux.errors import MechanismFailed, MechanismMissing
from executor.linux.mounts import Attribute, Mount

LINE = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root outside a box")


def errno_of(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def names(mount):
    # The descriptor of a mount stands for a place (O_PATH) and cannot be read itself.
    opened = os.open(".", os.O_RDONLY, dir_fd=mount)
    try:
        return os.listdir(opened)
    finally:
        os.close(opened)


def write(directory, name, size=1):
    file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=directory)
    try:
        while size > 0:
            size -= os.write(file, b"x" * min(size, 65536))
    finally:
        os.close(file)


@pytest.fixture
def memory():
    made = mounts.memory_file_system(1 << 20, 16, 0o1770, Attribute.NO_EXECUTION)
    yield made
    os.close(made)


@needs_root
def test_a_file_system_in_memory_has_the_mode_and_the_size_that_it_was_given(memory):
    assert stat.S_IMODE(os.fstat(memory).st_mode) == 0o1770
    write(memory, "fits", 1 << 19)
    assert errno_of(lambda: write(memory, "does-not", 1 << 20)) == "ENOSPC"


@needs_root
def test_a_file_system_in_memory_has_as_many_files_as_it_was_given(memory):
    assert errno_of(lambda: [write(memory, f"{n}") for n in range(20)]) == "ENOSPC"
    assert len(names(memory)) < 16


@needs_root
def test_what_is_read_only_refuses_writes_and_what_is_not_takes_them(memory):
    write(memory, "before")
    mounts.restrict(memory, Attribute.READ_ONLY)
    assert errno_of(lambda: write(memory, "after")) == "EROFS"
    assert names(memory) == ["before"]


@needs_root
def test_a_copy_of_a_tree_can_be_restricted_while_the_tree_stays_as_it_is(tmp_path):
    copy = mounts.copy_tree(str(tmp_path))
    try:
        mounts.restrict(copy, Attribute.READ_ONLY)
        assert errno_of(lambda: write(copy, "x")) == "EROFS"
        (tmp_path / "y").write_text("y")
        assert names(copy) == ["y"]
    finally:
        os.close(copy)


def test_a_tree_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises((MechanismFailed, MechanismMissing), match="absent"):
        mounts.copy_tree(str(tmp_path / "absent"))


def test_the_mounts_of_this_process_begin_somewhere():
    assert "/" in {mount.place for mount in mounts.mounted()}
    assert mounts.mounted(os.getpid()) == mounts.mounted()


def test_a_process_that_is_gone_has_no_mounts():
    with pytest.raises(MechanismFailed, match="reading /proc/2147483647/mountinfo"):
        mounts.mounted(2**31 - 1)


def test_a_line_of_mountinfo_is_read_with_its_escapes():
    assert mounts._parsed(LINE) == Mount(
        place="/mnt 2",
        root="/mnt1",
        options=frozenset({"rw", "noatime"}),
        kind="ext3",
        super_options=frozenset({"rw", "errors=continue"}),
    )


@pytest.mark.parametrize(
    ("said", "meant"), [("a\\134040b", "a\\040b"), ("a\\011b", "a\tb"), ("plain", "plain")]
)
def test_an_escaped_backslash_does_not_escape_what_follows_it(said, meant):
    assert mounts._unescaped(said) == meant
