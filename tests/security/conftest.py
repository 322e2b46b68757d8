import pytest

from tests.security.connected import world


@pytest.fixture(scope="session")
def net():
    """
    One world for all the rows about the network: its servers, and ours with its policies.
    """
    with world() as made:
        yield made
