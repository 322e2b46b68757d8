import tempfile
from pathlib import Path

import pytest
import scripted as scripts

import agent_client


@pytest.fixture
def directory():
    # Not tmp_path: the path of a unix socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="cc-") as name:
        yield Path(name)


@pytest.fixture
def server(directory):
    with scripts.serving(directory) as (server, address):
        server.address = address
        yield server


@pytest.fixture
def cage(server):
    with agent_client.connect(server.address) as cage:
        yield cage


@pytest.fixture
def session(cage):
    with cage.session() as session:
        yield session
