"""
What narrowing keeps, to the value, and what it says where it has no form, to the letter.
"""

from dataclasses import replace

import pytest

from policy.cages import process_gaps
from policy.decide import decide
from policy.errors import PolicyError
from policy.globs import glob_problem
from policy.hosts import host_problem
from policy.narrow import narrow
from policy.narrow_files import denied_below
from policy.parse import parse
from policy.path_globs import MAX_GLOB, MAX_SEGMENTS, path_glob_problem
from policy.requests import AddressRequest, ImportRequest, NetworkRequest, ProcessRequest
from policy.types import Access, Clock, FileGrant, Rule


def made(text, name="top"):
    return parse(f"version: 1\nname: {name}\n{text}", file=f"{name}.yaml", base="/srv")


def network(*grants):
    return "network:\n" + "".join(f"  - {{{grant}}}\n" for grant in grants)


def files(*grants):
    return "filesystem:\n" + "".join(f"  - {{{grant}}}\n" for grant in grants)


OUT = "mount: /out, source: /srv/out, access: read-write"
REFUSED = {
    "other-source": (
        files("mount: /data, source: /srv/a, access: read", "mount: /work, source: scratch, "
              "access: read-write"),
        files("mount: /data, source: /srv/b, access: read", "mount: /work, source: /srv/w, "
              "access: read-write"),
    ),
    "budget-of-files": (
        files("mount: /work, source: scratch, access: read-write, quota: 10, max_files: 5",
              "mount: /work/a, source: scratch, access: read-write, quota: 10, max_files: 5"),
        files("mount: /work, source: scratch, access: read-write, quota: 15, max_files: 9"),
    ),
    "budget-of-connections": (
        network("host: a.example.com, max_bytes: 100", "host: b.example.com, max_bytes: 100"),
        network("host: '*.example.com', max_bytes: 150"),
    ),
    "other-protocol": (
        network("host: a.example, scheme: http, ports: [80, 8080]"),
        network("host: a.example, raw: true, tls: false, ports: [80, 8080]"),
    ),
    "no-credentials": (
        network("host: a.example, credentials: {header: X-K, secret: s}"),
        network("host: a.example"),
    ),
    "other-credentials": (
        network("host: a.example, credentials: {header: X-K, secret: s}"),
        network("host: a.example, credentials: {header: X-K, secret: t}"),
    ),
    "no-glob": (
        network("host: a.example, http: [{paths: ['/**/a']}]"),
        network("host: a.example, http: [{paths: ['/b/**/c/**']}]"),
    ),
    "fallen": (
        network("host: '*.example.com'", "host: a.example.com, ports: [8443]"),
        network("host: '*.example.com'"),
    ),
    "image": ("image: data\n", "image: [core, web]\n"),
    "clock": ("clock: frozen\n", "clock: virtual\n"),
    "seed": ("random: {seed: 1}\n", "random: {seed: 2}\n"),
    "cage": ("cage: process\nimage: native-core\n", "cage: wasm\nimage: core\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_form_is_said_with_its_place(case, expected):
    own, other = REFUSED[case]
    with pytest.raises(PolicyError) as caught:
        narrow(made(own, "own"), made(other))
    expected(f"narrow-{case}", str(caught.value))
    assert narrow(made(own, "own"), made(own)).name == "own"


def shared(quota, count):
    mounts = (
        f"mount: /work{name}, source: scratch, access: read-write, quota: {quota}, "
        f"max_files: {count}"
        for name in ("", "/a")
    )
    return made(files(*mounts), "own")


@pytest.mark.parametrize(
    ("quota", "count", "fits"), [(10, 5, True), (11, 5, False), (10, 6, False)]
)
def test_mounts_that_share_a_budget_may_have_all_of_it_and_no_more(quota, count, fits):
    work = "mount: /work, source: scratch, access: read-write, quota: 20, max_files: 10"
    if fits:
        both = narrow(shared(quota, count), made(files(work)))
        assert [one.quota for one in both.filesystem] == [10, 10]
    else:
        with pytest.raises(PolicyError, match="lower `quota` and `max_files`"):
            narrow(shared(quota, count), made(files(work)))


@pytest.mark.parametrize(("most", "fits"), [(100, True), (101, False)])
def test_grants_that_share_a_budget_may_have_all_of_it_and_no_more(most, fits):
    own = network(*(f"host: {one}.example.com, max_bytes: {most}" for one in "ab"))
    ceiling = made(network("host: '*.example.com', max_bytes: 200"))
    if fits:
        both = narrow(made(own, "own"), ceiling)
        assert [one.max_bytes for one in both.network] == [100, 100]
    else:
        with pytest.raises(PolicyError, match="lower `max_bytes`"):
            narrow(made(own, "own"), ceiling)


def test_a_connection_is_narrowed_in_all_its_parts():
    own = made(network("host: '*.example.com', ports: [80, 443], max_bytes: 70, "
                       "addresses: [private, loopback]"), "own")  # fmt: skip
    ceiling = made(network("host: a.example.com, ports: [443, 8443], max_bytes: 50, "
                           "addresses: [private], http: [{methods: [GET], paths: [/a]}]"))  # fmt: skip
    for first, second in ((own, ceiling), (ceiling, own)):
        (grant,) = narrow(first, second).network
        assert (grant.host, grant.ports, grant.max_bytes) == ("a.example.com", (443,), 50)
        assert {one.value for one in grant.addresses} == {"private"}
        assert [(one.methods, one.paths) for one in grant.http] == [(("GET",), ("/a",))]
    assert narrow(own, ceiling).network[0].rule.file == "own.yaml"


def test_rules_of_requests_stand_where_the_policy_has_them():
    own = made(network("host: a.example, http: [{methods: [GET, PUT], paths: [/a/**]}]"), "own")
    ceiling = made(network("host: a.example, http: [{methods: [GET], paths: [/a/b]}]"))
    ((rule,),) = [one.http for one in narrow(own, ceiling).network]
    assert (rule.methods, rule.paths, rule.rule.file) == (("GET",), ("/a/b",), "own.yaml")


def test_a_mount_is_narrowed_in_all_its_parts():
    own = made(files(f"{OUT}, quota: 10, max_files: 9, deny: [a, b]"), "own")
    ceiling = made(files(f"{OUT}, quota: 20, max_files: 5, deny: [b, c]"))
    (grant,) = narrow(own, ceiling).filesystem
    assert (grant.access, grant.quota, grant.max_files) == (Access.READ_WRITE, 10, 5)
    assert grant.deny == ("a", "b", "c")
    assert [(one.file, one.name) for one in grant.deny_rules] == [
        ("own.yaml", "filesystem[0].deny[0]"),
        ("own.yaml", "filesystem[0].deny[1]"),
        ("top.yaml", "filesystem[0].deny[1]"),
    ]
    reader = made(files("mount: /out, source: /srv/out, access: read"))
    for first, second in ((own, reader), (reader, own)):
        (grant,) = narrow(first, second).filesystem
        assert (grant.access, grant.quota, grant.max_files) == (Access.READ, 0, 0)
        assert grant.rule.file == reader.file


def test_a_deny_without_a_place_of_its_own_is_narrowed_with_its_grants():
    grant = FileGrant("/d", "/s", Access.READ, ("x", "a/y"), 0, 0, Rule("filesystem[0]", "f", 3))
    assert denied_below(grant, "/d") == {"x", "a/y"}
    assert denied_below(grant, "/d/a") == {"y"}


def test_memory_of_the_session_is_never_more_than_the_limit_of_both():
    own = made(files("mount: /work, source: scratch, access: read-write, quota: 4096"), "own")
    (grant,) = narrow(own, replace(own, limits=replace(own.limits, scratch=1000))).filesystem
    assert grant.quota == 1000
    host = made(files(f"{OUT}, quota: 4096"), "own")
    (grant,) = narrow(host, replace(host, limits=replace(host.limits, scratch=1000))).filesystem
    assert grant.quota == 4096


def test_a_key_stands_where_its_value_comes_from():
    keys = "limits: {cells: 5, requests: 9}\nclock: frozen\nrandom: {seed: 1}\n"
    own = made(keys, "own")
    same = narrow(own, made(keys.replace("requests: 9", "requests: 8")))
    files_of = {one: same.rule(one).file for one in
                ("limits.cells", "limits.requests", "clock", "random", "random.seed")}  # fmt: skip
    assert files_of == {
        "limits.cells": "own.yaml",
        "limits.requests": "top.yaml",
        "clock": "own.yaml",
        "random": "own.yaml",
        "random.seed": "own.yaml",
    }
    taken = narrow(made("", "own"), made(keys))
    assert {taken.rule(one).file for one in files_of} == {"top.yaml"}
    assert [taken.rule(one).line for one in ("clock", "random", "random.seed")] == [4, 5, 5]
    assert (taken.clock, taken.seed) == (Clock.FROZEN, 1)


@pytest.mark.parametrize(
    ("own", "ceiling", "file"),
    [
        ("decisions", "replay", "top.yaml"),
        ("replay", "replay", "own.yaml"),
        ("replay", "decisions", "own.yaml"),
    ],
)
def test_the_level_of_the_record_stands_where_it_comes_from(own, ceiling, file):
    text = "limits: {{cells: 5, requests: {}}}\naudit: {{level: {}}}\n"
    both = narrow(made(text.format(9, own), "own"), made(text.format(8, ceiling)))
    assert both.rule("audit.level").file == file
    assert both.rule("limits.requests").file == "top.yaml"
    assert both.rule("limits.cells").file == "own.yaml"
    assert sum(one.name == "audit.level" for one in both.rules) == 1


def test_a_working_directory_that_both_grant_leaves_the_limits_as_they_are():
    scratch = files("mount: /work, source: scratch, access: read-write, quota: 10, max_files: 5")
    own, top = made(scratch, "own"), made(scratch)
    both = narrow(own, top)
    assert (both.limits.scratch, both.limits.files) == (own.limits.scratch, own.limits.files)
    dropped = narrow(own, made(""))
    assert (dropped.limits.scratch, dropped.limits.files) == (10, 5)


def test_isolation_and_process_stand_where_they_are_said():
    native = "cage: process\nimage: native-core\n"
    own = made(f"{native}process: {{programs: [/opt/a]}}\nlimits: {{cells: 9}}\n", "own")
    ceiling = made(
        f"{native}process: {{programs: [/opt]}}\nlimits: {{cells: 5}}\nisolation: {{min: P4}}\n"
        .replace("/opt]", "/opt/a]")
    )  # fmt: skip
    both = narrow(own, ceiling)
    assert both.process is not None
    assert both.process.rule.file == "own.yaml"
    assert [both.rule(one).file for one in ("isolation", "isolation.min", "limits.cells")] == [
        "top.yaml"
    ] * 3
    assert [both.rule(one).line for one in ("isolation", "isolation.min", "limits.cells")] == [
        7,
        7,
        6,
    ]


# Bounds


def test_globs_of_requests_have_bounds():
    assert path_glob_problem("/" + "a" * (MAX_GLOB - 1)) is None
    assert path_glob_problem("/" + "a" * MAX_GLOB) is not None
    assert path_glob_problem("/a" * MAX_SEGMENTS) is None
    assert path_glob_problem("/a" * (MAX_SEGMENTS + 1)) is not None


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        ("https://a.example", "a host is neither a URL nor a range",
         "write one name or address alone: api.example.com"),
        ("10.0.0.0/8", "a host is neither a URL nor a range",
         "write one name or address alone: api.example.com"),
        ("[::1]", "brackets are for URLs", "write '::1'"),
        ("a.example:443", "a port stands in `ports`", "write host: a.example, and the port"),
        ("127.1.", "a last label that is a number makes an address, and this is none",
         "a host is a name such as api.example.com, *.example.com, or a literal address"),
        ("127.1", "programs read this form of an IPv4 address differently", "write 127.0.0.1"),
        ("1:2:3", "this is no name of a host",
         "a host is a name such as api.example.com, *.example.com, or a literal address"),
    ],
)  # fmt: skip
def test_what_is_no_host_is_told_what_it_is(host, message, hint):
    assert host_problem(host) == (message, hint)


def test_a_gap_is_found_behind_grants_without_one():
    raw = "host: raw.example, raw: true, ports: [443]"
    either = "cage: any\nimage: [core, native-core]\n"
    one = made(either + network(raw, "host: b.example", "host: a.example, http: [{}]"))
    assert [gap.line for gap in process_gaps(one)] == [8]
    ports = (f"host: h{n}.example, ports: [{', '.join(map(str, range(16 * n + 1, 16 * n + 17)))}]"
             for n in range(5))  # fmt: skip
    (gap,) = process_gaps(made(either + network(*ports)))
    assert (gap.line, gap.hint) == (5, "grant fewer, or use an image of the WebAssembly cage")


def test_all_that_has_no_form_is_told_at_once():
    own = network(
        "host: a.example.com, ports: [8443]",
        "host: b.example.com, http: [{paths: ['/**/a']}]",
        "host: c.example.com, scheme: http, ports: [443]",
        "host: d.example.com, http: [{paths: ['/**/a']}]",
        "host: e.example.com, ports: [8443]",
        "host: '*.example.com', max_bytes: 10",
    )
    ceiling = network(
        "host: '*.example.com'",
        "host: b.example.com, http: [{paths: ['/b/**/c/**']}]",
        "host: d.example.com, http: [{paths: ['/b/**/c/**']}]",
    )
    with pytest.raises(PolicyError) as caught:
        narrow(made(own, "own"), made(ceiling))
    assert [one.message.partition(":")[0] for one in caught.value.problems] == [
        *(f"network[{index}]" for index in (1, 2, 3)),
        *(f"network[{index}]" for index in (0, 1, 2, 3, 4)),
    ]


# What the answers say


@pytest.mark.parametrize(("count", "end"), [(8, "/opt/7"), (9, "/opt/7 and 1 more")])
def test_programs_are_offered_up_to_eight(count, end):
    programs = ", ".join(f"/opt/{number}" for number in range(count))
    one = made(
        f"cage: process\nimage: native-core\ndisclose: true\nprocess: {{programs: [{programs}]}}\n"
    )
    assert decide(one, ProcessRequest("/bin/sh")).reason.endswith(end)


def test_a_program_is_asked_for_by_a_path_that_is_one():
    one = made("cage: process\nimage: native-core\nprocess: {programs: [/opt/tools]}\n")
    assert decide(one, ProcessRequest("/opt/tools/".ljust(4096, "a"))).allowed
    for program in ("/opt/tools/".ljust(4097, "a"), "/opt/tools/../x", "opt/tools"):
        decision = decide(one, ProcessRequest(program))
        assert decision.reason.endswith("the path is not absolute and normalised")
        assert decision.remedy == "nothing in a policy allows it"
    bare = decide(made(""), ProcessRequest("git")).remedy
    assert bare.startswith("no name is looked up: an absolute path in `process.programs` is")


def test_a_denial_about_a_granted_host_names_its_grant():
    one = made(network("host: a.example"))
    for request in (
        NetworkRequest("a.example", 80),
        AddressRequest("a.example", 443, "x" * 70),
        AddressRequest("a.example", 443, "10.0.0.1"),
    ):
        decision = decide(one, request)
        assert (decision.allowed, decision.network) == (False, one.network[0])
    wrong = decide(one, AddressRequest("a.example", 443, "x" * 61)).reason
    assert f"'{'x' * 60}...' is no address" in wrong


def test_advice_says_by_which_line_it_is_given():
    one = made("imports: {allow: [csv]}\n")
    assert decide(one, ImportRequest("csv")).rule.line == 3
    silent = decide(made(""), ImportRequest("x" * 201))
    assert silent.rule.name == "imports"
    assert silent.reason == (
        f"importing {'x' * 200}... is left to the image: this policy advises nothing"
    )


def test_an_address_leads_nowhere_else_and_the_denial_names_its_grant():
    one = made(network("host: 9.9.9.9"))
    assert decide(one, AddressRequest("9.9.9.9", 443, "9.9.9.9")).allowed
    decision = decide(one, AddressRequest("9.9.9.9", 443, "8.8.8.8"))
    assert (decision.allowed, decision.network) == (False, one.network[0])


@pytest.mark.parametrize("glob", ["X", "X*", "a/X"])
def test_a_letter_is_nothing_special_in_a_glob(glob):
    assert glob_problem(glob) is None
