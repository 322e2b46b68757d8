import pytest
from hypothesis import settings

# A busy machine is no reason to fail: no test here is about time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def path(tmp_path):
    """
    A place for a store, in a directory that does not exist yet.
    """
    return tmp_path / "state" / "audit.sqlite3"
