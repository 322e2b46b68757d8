"""
What the audit tests share: where a store goes, texts held in files, and collectors.

Set CODECAGE_REWRITE=1 to write `expected/` anew; then read the difference.
"""

import os
from pathlib import Path

import pytest
from collecting import grpc_collector, http_collector

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture
def path(tmp_path):
    """
    A place for a store, in a directory that does not exist yet.
    """
    return tmp_path / "state" / "audit.sqlite3"


@pytest.fixture
def expected():
    """
    Compare a rendered text with the file of that name.
    """

    def check(name, text):
        held = EXPECTED / f"{name}.txt"
        if os.environ.get("CODECAGE_REWRITE") == "1":
            held.write_text(text, encoding="utf-8")
        assert held.read_text(encoding="utf-8") == text

    return check


@pytest.fixture(scope="module")
def grpc_server():
    with grpc_collector() as made:
        yield made


@pytest.fixture(scope="module")
def http_server():
    with http_collector() as made:
        yield made


@pytest.fixture
def over_grpc(grpc_server):
    grpc_server.got.clear()
    grpc_server.behave = None
    return grpc_server


@pytest.fixture
def over_http(http_server):
    http_server.got.clear()
    http_server.status, http_server.answer, http_server.written = 200, b"", 0
    return http_server


@pytest.fixture(params=["grpc", "http"])
def collector(request):
    """
    Each of the two ways.
    """
    return request.getfixturevalue(f"over_{request.param}")
