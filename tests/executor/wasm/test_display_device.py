"""
`/dev/display` by its system calls: whole bundles pass, everything else is refused and forgotten.
"""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.kernel.bundles import BUNDLE_MAX, FORMS_MAX
from executor.kernel.frames import MAX_FROM_WORKER, MAX_OUTPUT
from executor.kernel.told import display_frames
from executor.sessions.displays import PARTS_MAX, Joiner
from executor.wasm.abi import F_DUPFD, Errno, GuestFault, Open
from executor.wasm.displays import HEADER_MAX, DisplayFile
from executor.wasm.space import Space
from tests.executor.wasm.world import MIB

WRONLY, RDWR = int(Open.WRONLY), int(Open.RDWR)
FORMS = {"text/plain": b"a picture", "image/png": b"\x89PNG\n" * 9, "text/html": b""}


def written(forms):
    header = [[kind, len(data)] for kind, data in forms.items()]
    return json.dumps(header).encode() + b"\n" + b"".join(forms.values())


class Device:
    """
    One open device by itself, with the memory of a session behind it.
    """

    def __init__(self, memory: int = 64 * MIB) -> None:
        self.shown: list[dict[str, bytes]] = []
        self.space = Space(memory, 1)
        self.file = DisplayFile(Open.WRONLY, self.space, self.shown.append)

    def refuses(self, data: bytes) -> Errno:
        with pytest.raises(GuestFault) as caught:
            self.file.write(data)
        assert caught.value.reason
        assert (self.shown, self.space.used) == ([], 0)
        with pytest.raises(GuestFault):
            self.file.write(b"x")
        return caught.value.errno


def test_one_display_is_open_at_a_time_and_the_next_when_it_is_over(kernel):
    first = kernel.open("/dev/display", WRONLY)
    kernel.write(first, written(FORMS)[:-1])
    assert kernel.open("/dev/display", WRONLY) == -Errno.EBUSY
    assert kernel.call("fd_close", first) == 0
    second = kernel.open("/dev/display", WRONLY)
    assert kernel.write(second, written(FORMS)) == len(written(FORMS))
    third = kernel.open("/dev/display", WRONLY)
    assert (second, third) == (second, second + 1), "a complete one is no hindrance"


# ---- what passes ---------------------------------------------------------------------------------


def test_a_bundle_is_shown_with_its_last_byte_and_once(kernel):
    descriptor = kernel.open("/dev/display", WRONLY)
    data = written(FORMS)
    assert kernel.write(descriptor, data[:-1]) == len(data) - 1
    assert kernel.shown == []
    assert kernel.write(descriptor, data[-1:]) == 1
    assert kernel.shown == [FORMS]
    assert kernel.call("fd_close", descriptor) == 0
    assert kernel.shown == [FORMS]


@given(st.lists(st.integers(0, 120), max_size=8))
def test_a_bundle_may_be_written_in_any_pieces(cuts):
    device, data = Device(), written(FORMS)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        if begin < end:
            device.file.write(data[begin:end])
    assert device.shown == [FORMS]


def test_forms_without_bytes_make_a_bundle():
    device = Device()
    device.file.write(b'[["text/plain", 0]]\n')
    assert device.shown == [{"text/plain": b""}]


def test_the_largest_bundle_passes_and_one_byte_more_is_too_big():
    device = Device()
    device.file.write(written({"image/png": bytes(BUNDLE_MAX)}))
    assert [len(forms["image/png"]) for forms in device.shown] == [BUNDLE_MAX]
    over = json.dumps([["image/png", BUNDLE_MAX], ["text/plain", 1]]).encode() + b"\n"
    assert Device().refuses(over) is Errno.EFBIG


def test_as_many_forms_as_allowed_pass_and_one_more_does_not():
    forms = {f"a/{number}": b"x" for number in range(FORMS_MAX)}
    device = Device()
    device.file.write(written(forms))
    assert device.shown == [forms]
    assert Device().refuses(written(forms | {"a/more": b""})) is Errno.EINVAL


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b"null",
        b"7",
        b'"image/png"',
        b'{"image/png": 3}',
        b'["image/png", 3]',
        b'[["image/png"]]',
        b'[["image/png", 3, 4]]',
        b'[[3, "image/png"]]',
        b'[["image/png", -1]]',
        b'[["image/png", 1.0]]',
        b'[["image/png", true]]',
        b'[["image/png", null]]',
        b'[["image/png", "3"]]',
        b'[["image/png", NaN]]',
        b'[["image/png", 1e999]]',
        b'[["image/png", %s]]' % (b"9" * 5000),
        b'[["image/png", 1], ["image/png", 2]]',
        b'[["Image/png", 3]]',
        b'[["", 3]]',
        b'[["image/png\\u0000", 3]]',
        b'[["image/\\ud800", 3]]',
        b'[["image/png", 3]] trailing',
        b"\xef\xbb\xbf[]",
        b'\xff\xfe[["image/png", 3]]',
        '[["image/png", 3]]'.encode("utf-16"),
        '[["image/png", 3]]'.encode("utf-32-be"),
        b"[" * 4000,
        b'[["image/png", ' * 200,
    ],
)
def test_a_first_line_that_announces_no_forms_is_refused(header):
    assert Device().refuses(header + b"\n") is Errno.EINVAL


def test_a_length_of_more_than_any_bundle_takes_no_memory():
    assert Device().refuses(b'[["image/png", %d]]\n' % 2**62) is Errno.EFBIG


def test_a_first_line_that_does_not_end_is_refused_when_it_is_too_long():
    device = Device()
    device.file.write(b" " * HEADER_MAX)
    with pytest.raises(GuestFault) as caught:
        device.file.write(b" ")
    assert caught.value.errno is Errno.EINVAL


def test_more_bytes_than_announced_are_refused_and_nothing_is_shown():
    assert Device().refuses(written(FORMS) + b"x") is Errno.EINVAL


def test_a_complete_device_takes_nothing_more(kernel):
    descriptor = kernel.open("/dev/display", WRONLY)
    kernel.write(descriptor, written(FORMS))
    assert kernel.write(descriptor, written(FORMS)) == -Errno.EINVAL
    assert kernel.shown == [FORMS]
    assert "open /dev/display for another" in kernel.process.denial.reason


def test_an_unfinished_bundle_is_dropped_when_the_file_is_closed(kernel):
    descriptor = kernel.open("/dev/display", WRONLY)
    data = written(FORMS)
    kernel.write(descriptor, data[:-1])
    assert kernel.call("fd_close", descriptor) == 0
    assert kernel.shown == []
    assert kernel.total.used == 0


def test_duplicates_are_one_file_that_closes_with_the_last(kernel):
    first = kernel.open("/dev/display", WRONLY)
    second = kernel.fcntl(first, F_DUPFD)
    data = written(FORMS)
    kernel.write(first, data[:9])
    kernel.call("fd_close", first)
    kernel.write(second, data[9:])
    assert kernel.shown == [FORMS]


def test_the_announced_bytes_count_as_memory_until_they_are_shown():
    device = Device(memory=100)
    device.file.write(b'[["text/plain", 100]]\n')
    assert device.space.used == 100
    device.file.write(bytes(100))
    assert (device.space.used, len(device.shown)) == (0, 1)


def test_a_bundle_for_which_the_session_has_no_memory_is_refused():
    assert Device(memory=100).refuses(b'[["text/plain", 101]]\n') is Errno.ENOSPC


@pytest.mark.parametrize(
    ("flags", "writing", "reading"),
    [(0, -Errno.EBADF, -Errno.EINVAL), (WRONLY, 5, -Errno.EBADF), (RDWR, 5, -Errno.EINVAL)],
)
def test_it_is_written_as_it_was_opened_and_never_read(kernel, flags, writing, reading):
    descriptor = kernel.open("/dev/display", flags)
    assert kernel.write(descriptor, b'[["te') == writing
    assert kernel.read(descriptor, 10) == reading
    assert kernel.seek(descriptor, 0) == -Errno.ESPIPE


# ---- its frames ----------------------------------------------------------------------------------

BUNDLES = st.dictionaries(
    st.sampled_from([f"a/{number}" for number in range(FORMS_MAX)]),
    st.tuples(st.integers(0, BUNDLE_MAX // 4), st.binary(min_size=1, max_size=1)),
    min_size=1,
    max_size=4,
)


@given(BUNDLES)
def test_frames_fit_and_the_server_joins_them_to_what_was_written(sizes):
    forms = {kind: size * byte for kind, (size, byte) in sizes.items()}
    frames, joiner = list(display_frames(forms)), Joiner()
    assert len(frames) <= PARTS_MAX
    assert all(frame.ByteSize() <= MAX_FROM_WORKER for frame in frames)
    joined = [joiner.add(frame.display) for frame in frames]
    assert joined == [None] * (len(frames) - 1) + [forms]


@pytest.mark.parametrize(
    "sizes",
    [
        (BUNDLE_MAX,),
        (MAX_OUTPUT, MAX_OUTPUT, MAX_OUTPUT),
        (MAX_OUTPUT, 0),
        (MAX_OUTPUT + 1, 0, MAX_OUTPUT),
        (0,) * FORMS_MAX,
        (BUNDLE_MAX - 15, *(1,) * 15),
    ],
)
def test_bundles_at_the_edges_of_a_frame_are_joined_as_well(sizes):
    forms = {f"{'a' * 127}/{number:0127}": bytes(size) for number, size in enumerate(sizes)}
    frames, joiner = list(display_frames(forms)), Joiner()
    assert len(frames) <= PARTS_MAX
    assert all(frame.ByteSize() <= MAX_FROM_WORKER for frame in frames)
    assert [joiner.add(frame.display) for frame in frames][-1] == forms
