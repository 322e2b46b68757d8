"""
A file is replaced whole or not at all, whatever happens while it is written.
"""

import os
import stat

import pytest

from executor.audit.review.written import replaced


def test_the_new_file_takes_the_place_of_the_old_one_for_its_owner_alone(tmp_path):
    place = tmp_path / "report.html"
    place.write_bytes(b"old")
    place.chmod(0o644)
    with replaced(place) as file:
        file.write(b"new")
        file.flush()
        assert place.read_bytes() == b"old"
    assert place.read_bytes() == b"new"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["report.html"]


def fails(place, failure):
    with replaced(place) as file:
        file.write(b"half of it")
        raise failure


@pytest.mark.parametrize("failure", [OSError("the disk is full"), KeyboardInterrupt()])
def test_what_was_not_written_to_its_end_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    place = tmp_path / "report.html"
    place.write_bytes(b"old")
    with pytest.raises(type(failure)):
        fails(place, failure)
    assert place.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    """
    Else whoever can make a link where a report goes could have any file of its reader's replaced.
    """
    other, place = tmp_path / "other", tmp_path / "report.html"
    other.write_bytes(b"not to be touched")
    place.symlink_to(other)
    with replaced(place) as file:
        file.write(b"new")
    assert other.read_bytes() == b"not to be touched"
    assert (place.is_symlink(), place.read_bytes()) == (False, b"new")
