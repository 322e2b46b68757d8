"""
What two policies have in common, and where that cannot be said.
"""

import pytest

from policy.decide import decide
from policy.errors import PolicyError
from policy.explain import parse_request
from policy.narrow import narrow
from policy.parse import parse
from policy.path_relations import common, holds, meet


def made(text: str, name: str = "own"):
    return parse(f"version: 1\nname: {name}\n{text}", file=f"{name}.yaml", base="/srv")


def narrowed(own: str, ceiling: str):
    return narrow(made(own), made(ceiling, "top"))


def allowed(policy, text: str) -> bool:
    return decide(policy, parse_request(text)).allowed


def fs(*grants: str) -> str:
    return "filesystem:\n" + "".join(f"  - {{{grant}}}\n" for grant in grants)


def net(*grants: str) -> str:
    return "network:\n" + "".join(f"  - {{{grant}}}\n" for grant in grants)


READ = "mount: /data, source: /srv/d, access: read"
WRITE = "mount: /data, source: /srv/d, access: read-write"
SUB = "mount: /data/sub, source: /srv/d/sub, access: read-write"
SCRATCH = "mount: /work, source: scratch, access: read-write"


def test_only_paths_that_both_grant_are_left():
    one = narrowed(fs(WRITE, "mount: /x, source: /srv/x, access: read"), fs(SUB))
    assert [grant.mount for grant in one.filesystem] == ["/data/sub"]
    assert one.filesystem[0].source == "/srv/d/sub"
    assert allowed(one, "write /data/sub/a")
    assert not allowed(one, "read /data/a")
    assert not allowed(one, "read /x/a")


@pytest.mark.parametrize(("own", "top"), [(READ, WRITE), (WRITE, READ)])
def test_read_only_wins_and_the_rule_is_of_the_stricter(own, top):
    one = narrowed(fs(own), fs(top))
    assert allowed(one, "read /data/a")
    assert not allowed(one, "write /data/a")
    assert one.filesystem[0].rule.file == ("own.yaml" if own is READ else "top.yaml")


def test_the_denies_of_both_hold_also_below_a_deeper_mount():
    own = fs(WRITE + ', deny: ["**/*.key", "sub/a/**", "other/**"]')
    one = narrowed(own, fs(SUB + ', deny: ["*.tmp"]'))
    assert set(one.filesystem[0].deny) == {"**/*.key", "a/**", "*.tmp"}
    for path in ("x/y.key", "a/x", "b.tmp"):
        assert not allowed(one, f"read /data/sub/{path}")
    assert allowed(one, "read /data/sub/b")


def test_a_deny_above_a_deeper_mount_hides_all_of_it():
    one = narrowed(fs(WRITE + ", deny: [sub]"), fs(SUB))
    assert not allowed(one, "read /data/sub/a")


def test_entries_of_deny_come_from_both():
    entry = "deny: [{{path: /data/{0}, reason: {0}}}]\n"
    one = narrowed(fs(READ) + entry.format("a"), fs(READ) + entry.format("b"))
    assert not allowed(one, "read /data/a")
    assert not allowed(one, "read /data/b")
    assert allowed(one, "read /data/c")


def test_a_dropped_working_directory_leaves_no_more_memory_than_it_had():
    one = narrowed(fs(SCRATCH + ", quota: 1Mi, max_files: 5"), fs(READ))
    assert one.filesystem == ()
    assert (one.limits.scratch, one.limits.files) == (2**20, 5)


def test_the_smaller_quota_and_the_smaller_limit_hold():
    one = narrowed(
        fs(SCRATCH + ", quota: 32Mi") + "limits: {cells: 9, memory: 1Gi}\n",
        fs(SCRATCH + ", quota: 16Mi, max_files: 3") + "limits: {scratch: 16Mi, cells: 50}\n",
    )
    assert (one.filesystem[0].quota, one.filesystem[0].max_files) == (16 * 2**20, 3)
    assert (one.limits.cells, one.limits.memory, one.limits.scratch) == (9, 2**29, 2**24)
    assert one.rule("limits.scratch").file == "top.yaml"
    assert one.rule("limits.cells").file == "own.yaml"


def test_images_clock_seed_and_disclosure():
    one = narrowed(
        "image: [math, core, data]\ndisclose: true\nenvironment: {A: x}\n",
        "image: [core, math]\nclock: frozen\nrandom: {seed: 4}\nenvironment: {B: x}\n",
    )
    assert one.images == ("math", "core")
    assert (one.clock.value, one.seed, one.disclose) == ("frozen", 4, False)
    assert one.environment == (("A", "x"),)


HTTP = "host: api.example.com, http: [{{methods: {0}, paths: [{1}]}}]"


def test_hosts_ports_and_requests_are_those_of_both():
    own = net(
        'host: api.example.com, http: [{methods: [GET, POST], paths: ["/v1/**"]}]',
        "host: other.example.com, max_bytes: 1Mi",
        "host: elsewhere.org",
    )
    top = net('host: "*.example.com", http: [{paths: ["/v1/prices/**", "/x"]}], max_bytes: 65Mi')
    one = narrowed(own, top)
    assert [grant.host for grant in one.network] == ["api.example.com", "other.example.com"]
    assert one.network[1].max_bytes == 2**20
    assert allowed(one, "GET https://api.example.com/v1/prices/a")
    assert not allowed(one, "POST https://api.example.com/v1/prices/a")
    assert not allowed(one, "GET https://api.example.com/x")
    assert allowed(one, "GET https://other.example.com/x")
    assert not allowed(one, "connect elsewhere.org:443")


def test_addresses_and_credentials_are_those_of_both():
    own = net(
        "host: a.example.com, addresses: [private, loopback]",
        "host: b.example.com, credentials: {header: X-Key, secret: k}",
    )
    top = net(
        "host: a.example.com, addresses: [private, host], "
        "credentials: {header: X-Key, secret: other}",
        "host: b.example.com, credentials: {header: X-Key, secret: k}",
    )
    first, second = narrowed(own, top).network
    assert {one.value for one in first.addresses} == {"private"}
    assert first.credential is None
    assert second.credential is not None


def test_no_request_in_common_leaves_no_grant():
    one = narrowed(net(HTTP.format("[GET]", "/a")), net(HTTP.format("[GET]", "/b")))
    assert one.network == ()


@pytest.mark.parametrize(
    ("own", "top", "message"),
    [
        (fs(READ), fs(READ.replace("/srv/d", "/srv/e")), "is /srv/d here and /srv/e in top"),
        (
            fs(READ),
            fs("mount: /data, source: scratch, access: read-write"),
            "memory of the session",
        ),
        (
            fs(WRITE),
            fs(SUB + ", quota: 40Mi", SUB.replace("sub", "b") + ", quota: 40Mi"),
            "they could grow by 80Mi",
        ),
        ("image: math\n", "", "image: top allows none of math"),
        ("clock: frozen\n", "clock: virtual\n", "clock: frozen here and virtual in top"),
        ("random: {seed: 1}\n", "random: {seed: 2}\n", "the seed is 1 here and 2 in top"),
        (
            net("host: a.org, scheme: http, ports: [443]"),
            net("host: a.org"),
            "a.org:443 is http here and https in top",
        ),
        (
            net("host: a.org, raw: true, ports: [443]"),
            net("host: a.org"),
            "is a raw stream over TLS here and https",
        ),
        (
            net("host: a.org, credentials: {header: X-Key, secret: k}"),
            net("host: a.org"),
            "a.org:443 has no credentials in top",
        ),
        (
            net(HTTP.format("[GET]", '"/a*"')),
            net(HTTP.format("[GET]", '"/*b"')),
            "no glob says which paths",
        ),
        (
            net("host: a.x.org", 'host: "*.x.org", ports: [8443]'),
            net('host: "*.x.org", ports: [8443]'),
            "nothing is left of a.x.org within top, and *.x.org",
        ),
        (
            net("host: a.x.org", "host: b.x.org"),
            net('host: "*.x.org"'),
            "they could move 128Mi",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_and_points_at_the_policy(own, top, message):
    with pytest.raises(PolicyError) as caught:
        narrowed(own, top)
    assert message in str(caught.value)
    assert all(one.file == "own.yaml" and one.line for one in caught.value.problems)


def test_all_that_cannot_be_said_is_told_together():
    with pytest.raises(PolicyError) as caught:
        narrowed("clock: frozen\nimage: math\n", "clock: virtual\n")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("/**", "/v1/*", "/v1/*"),
        ("/v1/**", "/v1", "/v1"),
        ("/v1/*", "/v1/a*", "/v1/a*"),
        ("/v1/*", "/v1/**", "/v1/*"),
        ("/v1", "/v2", None),
        ("/v1/*", "/v1", None),
        ("/v1/*", "/v1/", None),
        ("/**/x", "/v1/x", "/v1/x"),
        ("/a*c", "/a*b*c", "/a*b*c"),
        ("/**/a", "/**/b", None),
    ],
)
def test_what_two_globs_have_in_common(first, second, found):
    assert common(first, second) == common(second, first) == found


@pytest.mark.parametrize(
    ("first", "second"), [("/a*", "/*b"), ("/**/x", "/v1/**"), ("/*/a", "/b/*")]
)
def test_what_no_glob_says_is_no_answer(first, second):
    assert meet(first, second)
    assert not holds(first, second)
    with pytest.raises(ValueError, match="overlap"):
        common(first, second)


def test_long_globs_take_no_stack():
    long = "/" + "a*" * 400
    assert holds(long, long)
    assert meet(long, "/" + "*a" * 400)
