"""
What an agent does with a network in native Python: libraries as they are, TLS that the guest speaks
itself, and what is refused told in the policy's own words.
"""

import contextlib
import os
import pwd

import pytest

import agent_client
from agent_client.embedded import account
from executor.children.probing import NotHeld, probe
from tests.e2e.native_network import (
    check_refused,
    check_sealed,
    reached,
    small_internet,
    value,
)
from tests.e2e.serving import needs_image

HELD = probe()
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(isinstance(HELD, NotHeld), reason=f"no box can be made here: {HELD}"),
]


@contextlib.contextmanager
def _embedded(policies, record, resolver):
    with agent_client.connect(policies=policies, audit=record, resolvers=[resolver]) as cage:
        yield cage


@pytest.fixture(scope="module")
def world():
    owner = pwd.getpwnam(account()).pw_uid if os.geteuid() == 0 else None
    with small_internet(_embedded, owner) as made:
        yield made


def test_libraries_reach_what_is_granted(world):
    with world.session() as session:
        assert reached(world, session) == ["/v1/a"] * 6
        assert world.denials(session) == []


def test_what_is_not_granted_is_an_exception_with_the_policys_words_and_one_record(world):
    port = world.plain.port
    cases = [
        (f"opened('http://evil.test:{port}/v1/a')", "resolve evil.test", "network"),
        (f"received('10.0.0.1', {port})", f"connect 10.0.0.1:{port}", "network"),
        (f"received('127.0.0.1', {port})", f"connect 127.0.0.1:{port}", "network"),
        (f"opened('http://api.test:{port}/')", f"connect api.test:{port}", "network[0]"),
        ("received('plain.test', 22)", "connect plain.test:22", "network[1]"),
    ]
    check_refused(world, cases)


def test_a_request_that_no_rule_allows_is_refused_and_an_allowed_one_goes_on(world):
    with world.session() as session:
        url, seen = f"http://plain.test:{world.plain.port}", len(world.plain.seen)
        kind, text = value(session, f"attempt(lambda: opened('{url}/admin'))")
        assert (kind, len(world.plain.seen)) == ("PermissionError", seen), text
        assert f"GET {url}/admin is not granted: the path is not granted for GET" in text
        assert value(session, f"opened('{url}/v1/b')") == "/v1/b"


def test_tls_for_another_name_is_refused_in_the_policys_words(world):
    with world.session() as session:
        code = (
            f"TLS.wrap_socket(socket.create_connection(('api.test', {world.api.port})), "
            "server_hostname='evil.test').version()"
        )
        accepted = world.api.accepted
        kind, text = value(session, f"attempt(lambda: {code})")
        assert kind != "done", text
        place = f"connect api.test:{world.api.port}"
        assert world.denials(session) == [(place, "network[0]")]
        assert world.api.accepted == accepted


def test_boxes_have_nothing_in_common(world):
    """
    The same made-up address leads each to its own name, and neither to the other's.
    """
    with world.session() as one, world.session("other") as another:
        assert value(one, "socket.gethostbyname('plain.test')") == "198.18.0.1"
        assert value(another, "socket.gethostbyname('other.test')") == "198.18.0.1"
        for session, name in ((one, "api.test"), (another, "plain.test")):
            attempt = f"attempt(lambda: received('198.18.0.2', {world.plain.port}))"
            assert value(session, attempt)[0] == "PermissionError", name
        assert value(another, f"attempt(lambda: received('198.18.0.1', {world.api.port}))")[0] == (
            "PermissionError"
        )


def test_a_policy_without_network_has_none(world):
    check_sealed(world)
