"""
Bytes that were not hashed are never handed out (threat R18, requirement 8).
"""

import contextlib
import fcntl
import mmap
import os
from pathlib import Path

import pytest
from crafted import small_image

from executor.images import catalog
from executor.images.errors import ImageRefusedError
from executor.images.pins import sha256
from executor.images.sealed import open_module, read, read_private

CODE = os.urandom(64 * 1024)
FILES = {"python.cwasm": CODE, "stdlib.zip": b"zip", "site-packages/p/__init__.py": b"x = 1\n"}


@pytest.fixture
def image(cache):
    return small_image(cache, FILES)


def open_descriptors() -> set[tuple[int, int, int]]:
    """
    Number and file of each: what others close meanwhile, or open again, is not taken for ours.
    """
    found = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            found.add((number, status.st_dev, status.st_ino))
    return found


def refused(image, name="python.cwasm") -> str:
    """
    Both ways to the bytes refuse, and neither leaves a descriptor.
    """
    before = open_descriptors()
    with pytest.raises(ImageRefusedError) as caught:
        open_module(image, name)
    with pytest.raises(ImageRefusedError):
        read(image, name)
    assert open_descriptors() <= before
    return str(caught.value)


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_the_descriptor_holds_the_files_bytes(image):
    descriptor = open_module(image, "python.cwasm")
    assert os.pread(descriptor, len(CODE) + 1, 0) == CODE
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert read(image, "site-packages/p/__init__.py") == b"x = 1\n"


def test_the_descriptor_cannot_be_written_in_any_way(image):
    descriptor = open_module(image, "python.cwasm")
    seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    assert seals == (
        fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(descriptor, b"x")
    writable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    for change in (
        lambda: os.pwrite(writable, b"x", 0),
        lambda: os.ftruncate(writable, 0),
        lambda: os.ftruncate(writable, len(CODE) + 1),
        lambda: mmap.mmap(writable, 0, mmap.MAP_SHARED, mmap.PROT_WRITE | mmap.PROT_READ),
    ):
        with pytest.raises(PermissionError):
            change()
    assert os.pread(descriptor, len(CODE), 0) == CODE
    os.close(writable)
    os.close(descriptor)


def test_a_file_that_changes_after_it_was_opened_does_not_change_what_was_opened(image):
    descriptor = open_module(image, "python.cwasm")
    rewrite(image.path / "python.cwasm", b"evil" * 16 * 1024)
    assert os.pread(descriptor, len(CODE), 0) == CODE
    os.close(descriptor)
    assert "SHA-256" in refused(image)


def test_a_file_with_any_page_changed_is_refused(image):
    path = image.path / "python.cwasm"
    places = [*range(0, len(CODE), 4096), len(CODE) - 1]
    for place in places:
        damaged = bytearray(CODE)
        damaged[place] ^= 1
        rewrite(path, bytes(damaged))
        assert "SHA-256" in refused(image)
    rewrite(path, CODE)
    os.close(open_module(image, "python.cwasm"))


@pytest.mark.parametrize("data", [b"", CODE[:-1], CODE + b"\0", CODE + CODE])
def test_a_file_of_another_length_is_refused(image, data):
    rewrite(image.path / "python.cwasm", data)
    assert "bytes that the manifest says" in refused(image)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(image, mode):
    path = image.path / "python.cwasm"
    path.chmod(mode)
    assert "others may not write" in refused(image)
    path.chmod(0o644)
    os.close(open_module(image, "python.cwasm"))


@pytest.mark.parametrize("directory", [".", "site-packages", "site-packages/p"])
def test_a_directory_on_the_way_that_others_can_write_is_refused(image, directory):
    name = "site-packages/p/__init__.py"
    (image.path / directory).chmod(0o757)
    assert "others may not write" in refused(image, name)
    (image.path / directory).chmod(0o755)
    assert read(image, name) == b"x = 1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("part", [".", "python.cwasm"])
def test_a_file_or_directory_of_somebody_else_is_refused(image, part):
    os.chown(image.path / part, 12345, 12345)
    assert "belongs to user 12345" in refused(image)


def test_a_link_to_the_same_bytes_is_refused(image, tmp_path):
    path = image.path / "python.cwasm"
    path.rename(tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    assert "cannot be opened" in refused(image)


def test_a_directory_that_became_a_link_is_refused(image, tmp_path):
    (image.path / "site-packages").rename(tmp_path / "real")
    (image.path / "site-packages").symlink_to(tmp_path / "real")
    assert "cannot be opened" in refused(image, "site-packages/p/__init__.py")


def test_a_fifo_is_refused_and_does_not_block(image):
    path = image.path / "python.cwasm"
    path.unlink()
    os.mkfifo(path)
    assert "wrong type" in refused(image)


def test_a_missing_file_is_refused(image):
    (image.path / "python.cwasm").unlink()
    assert "cannot be opened" in refused(image)


@pytest.mark.parametrize("name", ["absent", "../index.json", "/etc/passwd", "manifest.json", ""])
def test_a_name_that_the_manifest_does_not_have_is_refused(image, name):
    assert "no file" in refused(image, name)


def test_a_small_private_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_private(path, 5) == b"12345"
    with pytest.raises(ImageRefusedError, match="longer than"):
        read_private(path, 4)
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "absent", 5)


def test_a_manifest_that_was_changed_with_its_file_is_refused_by_the_index(cache, image):
    """
    Rewriting file and manifest together does not help: the index holds the manifest's hash.
    """
    evil = b"evil" * 16 * 1024
    rewrite(image.path / "python.cwasm", evil)
    manifest = image.path / "manifest.json"
    changed = manifest.read_text().replace(
        image.manifest.entry("python.cwasm").sha256, sha256(evil)
    )
    assert changed != manifest.read_text()
    rewrite(manifest, changed.encode())
    with pytest.raises(ImageRefusedError, match="it was changed"):
        catalog.find("small", cache)
