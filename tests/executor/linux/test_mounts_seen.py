"""
Mounts as they are looked at without their names: the same mounts, and no text of them is left.
"""

import os

import pytest

from executor.linux import mounts, mounts_seen
from executor.linux.errors import MechanismFailed
from executor.linux.mounts_seen import digest_of


def test_the_same_mounts_are_seen_with_and_without_names() -> None:
    named, seen = mounts.mounted(), mounts_seen.look(os.getpid())
    assert [(digest_of(one.place), one.options, one.kind) for one in named] == [
        (one.place, one.options, one.kind) for one in seen
    ]


def test_a_mount_tells_what_it_lies_in() -> None:
    for named, seen in zip(mounts.mounted(), mounts_seen.look(os.getpid()), strict=True):
        parts = named.place.split("/")[1:-1]
        above = ["/" + "/".join(parts[: number + 1]) for number in range(len(parts))]
        assert [digest_of(one) for one in above] == list(seen.above)


def test_a_process_that_is_gone_has_no_mounts() -> None:
    with pytest.raises(MechanismFailed, match="mountinfo"):
        mounts_seen.look(2**22 + 1)
