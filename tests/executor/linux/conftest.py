import pytest
from cage_range import Range


@pytest.fixture(scope="module")
def shooting():
    started = Range()
    yield started
    started.close()
