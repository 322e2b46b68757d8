"""
Captures on the disk: what was written is read again, and nothing else is.
"""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.capture.cipher import KEY_BYTES, Cipher
from executor.capture.errors import CaptureDamaged, CaptureErased, CaptureMissing
from executor.capture.events import Event, Kind, decode, put
from executor.capture.vault import Vault
from tests.executor.full_disk import no_longer_than

SESSION = "0123456789abcdef" * 2
OTHER = "f" * 32
BATCHES = [b"first" * 100, b"second", b"third" * 5000]


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "audit.sqlite3")


def encoded(events):
    batch = bytearray()
    for event in events:
        put(batch, event.kind, event.data)
    return bytes(batch)


def written(vault, session=SESSION):
    writer = vault.create(session)
    for batch in BATCHES:
        writer.write(batch)
    writer.close()


def read(vault, session=SESSION):
    cipher = vault.cipher(session)
    return [cipher.decrypt(place, data) for place, data in enumerate(vault.batches(session))]


def test_what_was_written_is_read_again(vault):
    written(vault)
    assert read(vault) == BATCHES
    assert vault.sessions() == [SESSION]


def test_nothing_is_readable_by_others_or_in_the_clear(vault, tmp_path):
    written(vault)
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(paths) == 2
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert all(b"first" not in path.read_bytes() for path in paths)


def test_a_capture_is_made_once(vault):
    written(vault)
    with pytest.raises(FileExistsError):
        vault.create(SESSION)


def test_a_capture_that_cannot_be_made_leaves_nothing(vault, tmp_path):
    with no_longer_than(10), pytest.raises(OSError, match="File too large"):
        vault.create(SESSION)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "audit.sqlite3.captures" / f"{SESSION}.capture").mkdir()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileExistsError):
        vault.create(SESSION)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_batch_that_the_disk_takes_in_part_is_taken_back_and_none_follows(vault):
    writer = vault.create(SESSION)
    writer.write(BATCHES[0])
    with no_longer_than(writer.written + 20), pytest.raises(OSError, match="File too large"):
        writer.write(os.urandom(1000))
    with pytest.raises(OSError, match="File too large"):
        writer.write(BATCHES[1])
    writer.close()
    assert read(vault) == BATCHES[:1]


def test_no_name_leads_elsewhere(vault):
    for name in ("../x", "", "A" * 32, SESSION + "0"):
        with pytest.raises(ValueError, match="not the name"):
            vault.create(name)
        with pytest.raises(CaptureMissing):
            vault.cipher(name)


def test_an_erased_capture_is_gone_and_others_stay(vault, tmp_path):
    written(vault)
    written(vault, OTHER)
    vault.erase(SESSION)
    assert vault.sessions() == [OTHER]
    assert not [*tmp_path.rglob(f"{SESSION}*")]
    assert read(vault, OTHER) == BATCHES
    with pytest.raises(CaptureMissing):
        vault.erase(SESSION)


def test_without_its_key_a_capture_tells_that_it_was_erased(vault, tmp_path):
    written(vault)
    (tmp_path / "audit.sqlite3.capture-keys" / f"{SESSION}.key").unlink()
    with pytest.raises(CaptureErased):
        vault.cipher(SESSION)


def test_every_changed_byte_is_found(vault, tmp_path):
    written(vault)
    path = tmp_path / "audit.sqlite3.captures" / f"{SESSION}.capture"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
        with pytest.raises((CaptureDamaged, ValueError)):
            read(vault)


def test_a_capture_that_is_cut_off_is_found(vault, tmp_path):
    written(vault)
    path = tmp_path / "audit.sqlite3.captures" / f"{SESSION}.capture"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CaptureDamaged, match="cut off"):
        read(vault)


def test_a_batch_fits_its_place_and_its_session_alone():
    key = os.urandom(KEY_BYTES)
    cipher = Cipher(SESSION, key)
    data = cipher.encrypt(3, b"batch")
    assert cipher.decrypt(3, data) == b"batch"
    for other, place in ((cipher, 4), (Cipher(OTHER, key), 3), (Cipher(SESSION, bytes(32)), 3)):
        with pytest.raises(ValueError, match="batch"):
            other.decrypt(place, data)


def test_a_batch_is_no_longer_read_than_any_that_was_written():
    cipher = Cipher(SESSION, bytes(KEY_BYTES))
    most = 8 * 2**20
    assert len(cipher.decrypt(0, cipher.encrypt(0, bytes(most)))) == most
    with pytest.raises(ValueError, match="longer than any that was written"):
        cipher.decrypt(0, cipher.encrypt(0, bytes(most + 1)))


def test_a_seal_is_of_all_batches_in_order():
    cipher = Cipher(SESSION, bytes(KEY_BYTES))
    first = cipher.seal(b"", b"one")
    assert cipher.seal(first, b"two") != cipher.seal(cipher.seal(b"", b"two"), b"one")
    assert Cipher(SESSION, b"k" * KEY_BYTES).seal(b"", b"one") != first


EVENTS = st.lists(st.builds(Event, st.sampled_from(Kind), st.binary(max_size=50)), max_size=20)


@given(EVENTS)
def test_events_are_read_as_they_were_written(events):
    assert list(decode(encoded(events))) == events


@given(st.binary(max_size=60))
def test_any_bytes_are_events_or_an_error(data):
    try:
        events = list(decode(data))
    except ValueError:
        return
    assert encoded(events) == data
