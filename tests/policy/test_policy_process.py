"""
What a policy says of the process cage: how it is said, what is meant, narrowed and answered.
"""

from dataclasses import replace

import pytest

from policy.builtin import CALCULATOR
from policy.cages import (
    ISOLATION_ITEMS,
    MAX_PORTS,
    allows_cage,
    cage_gaps,
    cage_of,
    process_gaps,
)
from policy.cases import rules_of
from policy.compare import compare
from policy.decide import decide
from policy.doubts import SHIPPED_IMAGES, doubts
from policy.effective import effective
from policy.errors import PolicyError
from policy.explain import explain, parse_request, to_json
from policy.lint_process import program_findings
from policy.narrow import narrow
from policy.parse import load, parse
from policy.programs import dangerous_program
from policy.requests import ProcessRequest
from policy.types import CageKind, Isolation, IsolationLevel, NetworkGrant, Rule

NATIVE = "cage: process\nimage: native-core\n"
FULL = """cage: any
image: [core, native-data]
isolation: {min: P4, require: [network, memory]}
process: {fork: true, programs: [/usr/bin/git, /opt/tools], new_code: allow}
"""


def asked(policy, program):
    return decide(policy, ProcessRequest(program))


# What is said


def test_every_key_arrives(policy):
    full = policy(FULL)
    assert full.cage is CageKind.ANY
    assert full.isolation == Isolation(IsolationLevel.P4, frozenset({"memory", "network"}))
    assert full.process is not None
    assert full.process.programs == ("/usr/bin/git", "/opt/tools")
    assert (full.process.fork, full.process.new_code) == (True, True)
    assert [str(rule) for rule in full.process.places().values()] == [
        "process.programs[0] (sample.yaml:6)",
        "process.programs[1] (sample.yaml:6)",
    ]


def test_a_policy_that_is_silent_is_of_wasm_and_grants_no_process(policy):
    for one in (policy(), policy("cage: wasm\n"), CALCULATOR):
        assert (one.cage, one.isolation, one.process) == (CageKind.WASM, Isolation(), None)


def test_process_without_a_word_grants_nothing(policy):
    one = policy(NATIVE + "process: {}\n")
    assert one.process is not None
    assert (one.process.fork, one.process.programs, one.process.new_code) == (False, (), False)
    assert one.digest == policy(NATIVE).digest


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("native-core", CageKind.PROCESS),
        ("native-data", CageKind.PROCESS),
        ("native-mine", CageKind.PROCESS),
        ("native", CageKind.WASM),
        ("core", CageKind.WASM),
        ("my-native-core", CageKind.WASM),
    ],
)
def test_the_name_of_an_image_says_its_cage(image, kind):
    assert cage_of(image) is kind


def test_each_cage_has_its_shipped_images():
    native = [one for one in SHIPPED_IMAGES if cage_of(one) is CageKind.PROCESS]
    assert native == ["native-core", "native-data", "native-books"]


@pytest.mark.parametrize(
    ("cage", "kinds"),
    [("wasm", {CageKind.WASM}), ("process", {CageKind.PROCESS}), ("any", set(CageKind))],
)
def test_a_policy_allows_the_sessions_of_its_cage(policy, cage, kinds):
    image = "native-core" if cage == "process" else "core"
    one = policy(f"cage: {cage}\nimage: {image}\n")
    found = {kind for kind in (CageKind.WASM, CageKind.PROCESS) if allows_cage(one, kind)}
    assert found == kinds - {CageKind.ANY}


def test_every_item_of_isolation_can_be_required(policy):
    items = ", ".join(ISOLATION_ITEMS)
    one = policy(f"{NATIVE}isolation: {{require: [{items}]}}\n")
    assert one.isolation.require == set(ISOLATION_ITEMS)


@pytest.mark.parametrize(
    ("one", "other"),
    [("P4", "P3"), ("P3", "P2"), ("P4", "P2"), ("P3", "P3")],
)
def test_a_level_holds_itself_and_what_holds_less(one, other):
    first, second = IsolationLevel(one), IsolationLevel(other)
    assert first.holds(second)
    assert second.holds(first) is (first is second)


# The digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("any", "process"),
        ("P4", "P3"),
        ("network, memory", "network"),
        ("fork: true", "fork: false"),
        ("/opt/tools", "/opt/tool"),
        ("allow", "deny"),
    ],
)
def test_another_meaning_has_another_digest(policy, old, new):
    text = FULL.replace("[core, native-data]", "native-data")
    assert old in text
    assert policy(text).digest != policy(text.replace(old, new)).digest


def test_the_same_meaning_has_the_same_digest(policy):
    turned = FULL.replace("network, memory", "memory, network").replace(
        "/usr/bin/git, /opt/tools", "/opt/tools, /usr/bin/git"
    )
    assert policy(turned).digest == policy(FULL).digest
    assert policy("cage: wasm\n").digest == policy().digest


# What is answered


@pytest.mark.parametrize(
    ("program", "rule"),
    [
        ("/usr/bin/git", "process.programs[0]"),
        ("/opt/tools", "process.programs[1]"),
        ("/opt/tools/a", "process.programs[1]"),
        ("/opt/tools/a/b", "process.programs[1]"),
        ("fork", "process.fork"),
    ],
)
def test_a_granted_program_runs_and_its_rule_says_so(policy, program, rule):
    decision = asked(policy(FULL), program)
    assert (decision.allowed, decision.rule.name, decision.rule.line) == (True, rule, 6)
    silent = asked(policy(NATIVE), program)
    assert (silent.allowed, silent.rule.line) == (False, 0)


@pytest.mark.parametrize(
    "program",
    [
        *("/usr/bin/gitk", "/usr/bin", "/usr/bin/sh", "/opt", "/opt/toolsmith", "/"),
        *("/opt/tools/../../bin/sh", "/opt/tools/./a", "/opt/tools//a", "/opt/tools/", "//opt/tools"),
        *("git", "opt/tools/a", "./git", "", " ", "\0", "/opt/tools/a\0b", "Fork", "fork "),
        *("/OPT/tools/a", "/opt/tools/" + "a" * 4096),
    ],
)  # fmt: skip
def test_what_is_no_granted_program_is_denied(policy, program):
    decision = asked(policy(FULL), program)
    assert not decision.allowed
    assert decision.rule.name == "process"
    assert decision.reason.startswith("run ")
    assert decision.remedy


def test_a_bare_name_is_looked_up_nowhere(policy):
    decision = asked(policy(FULL), "git")
    assert decision.reason == (
        "run git is not granted: a program is named by its absolute path, and no name is looked up"
    )


def test_who_may_fork_may_not_yet_start_a_program_nor_the_other_way_round(policy):
    forks = policy(NATIVE + "process: {fork: true}\n")
    runs = policy(NATIVE + "process: {programs: [/usr/bin/git]}\n")
    assert [asked(forks, one).allowed for one in ("fork", "/usr/bin/git")] == [True, False]
    assert [asked(runs, one).allowed for one in ("fork", "/usr/bin/git")] == [False, True]


def test_a_reason_lists_the_programs_only_where_the_policy_discloses_them(policy):
    reason = "run /bin/sh is not granted: it is not among the granted programs"
    assert asked(policy(FULL), "/bin/sh").reason == reason
    told = asked(policy(FULL + "disclose: true\n"), "/bin/sh").reason
    assert told == f"{reason}; you may run /opt/tools, /usr/bin/git"
    many = ", ".join(f"/opt/{number}" for number in range(10))
    one = policy(f"{NATIVE}disclose: true\nprocess: {{programs: [{many}]}}\n")
    assert asked(one, "/bin/sh").reason.endswith("/opt/7 and 2 more")


@pytest.mark.parametrize("text", ["run /opt/tools/a", "run git", "run /bin/sh", "run fork"])
def test_an_explanation_reads_like_this(policy, expected, text):
    name = text.replace("run ", "").strip("/").replace("/", "-")
    request = parse_request(text)
    expected(f"explain-run-{name}", explain(policy(FULL), request))
    expected(f"explain-run-{name}.json", to_json(policy(FULL), request))


def test_every_program_is_a_rule_that_a_case_can_ask(policy):
    names = rules_of(policy(FULL))
    assert names == ["process.programs[0]", "process.programs[1]", "process.fork"]


def test_what_is_in_force_is_shown(policy, expected):
    shown = effective(policy(FULL)).split("\n", 1)[1]
    expected("effective-process", shown)
    assert "process:" not in effective(policy())


# The share of the processors

TENTH = "limits: {cpus: 0.1}\n"


def test_less_than_a_processor_is_for_the_process_cage(policy):
    assert policy(NATIVE + TENTH).limits.cpus == 0.1
    with pytest.raises(PolicyError) as caught:
        policy(TENTH)
    (problem,) = caught.value.problems
    assert problem.message.startswith("limits.cpus: less than one processor (0.1) is for the")
    assert problem.line == 3
    assert policy("limits: {cpus: 1}\n").digest == policy().digest


def test_less_than_a_processor_under_any_cage_is_a_doubt_about_the_other_cages_images(policy):
    either = policy("cage: any\nimage: [core, native-core]\n" + TENTH)
    (doubt,) = doubts(either)
    assert doubt.hint.startswith("sessions of core are refused; write cpus: 1")
    assert [len(cage_gaps(either, kind)) for kind in CageKind] == [
        int(kind is CageKind.WASM) for kind in CageKind
    ]
    assert doubts(policy("cage: any\nimage: [native-core]\n" + TENTH)) == ()


def test_a_ceilings_share_is_kept_or_the_policy_is_an_error(policy):
    ceiling = policy("cage: any\nimage: [core, native-core]\n" + TENTH)
    lowered = narrow(policy(NATIVE + "limits: {cpus: 4}\n"), ceiling)
    assert (lowered.limits.cpus, lowered.rule("limits.cpus").line) == (0.1, 5)
    with pytest.raises(PolicyError, match=r"limits\.cpus"):
        narrow(policy(), ceiling)


def test_another_share_is_told_and_has_another_digest(policy):
    one, two = policy(NATIVE), policy(NATIVE + "limits: {cpus: 2.5}\n")
    assert one.digest != two.digest
    assert two.digest == policy(NATIVE + "limits: {cpus: 2.50}\n").digest
    (more,) = compare(one, two).looser
    assert (more.place, more.text) == ("limits.cpus", "up to 2.5, not 1")
    assert "  cpus 2.5\n" in effective(two)


# What cannot be kept

HTTPS = NetworkGrant(
    "a.example", (443,), True, False, (), 1, None, frozenset(), Rule("network[0]", "a.yaml")
)


def gap_names(policy):
    return [gap.message.partition(":")[0] for gap in process_gaps(policy)]


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("", []),
        ("random: {seed: 0}\n", ["random"]),
        ("clock: frozen\n", ["clock"]),
        ("clock: virtual\nrandom: {seed: 1}\n", ["random", "clock"]),
        ("network: [{host: a.example}]\n", []),
        ("network: [{host: a.example, scheme: http, http: [{paths: [/a]}]}]\n", []),
        ("network: [{host: a.example, raw: true, ports: [443]}]\n", []),
        ("network: [{host: a.example, http: [{paths: [/a]}]}]\n", ["network[0]"]),
        (
            "network: [{host: a.example, credentials: {header: X-K, secret: s}, http: [{}]}]\n",
            ["network[0]", "network[0]"],
        ),
    ],
)
def test_what_the_process_cage_cannot_keep_is_a_gap(policy, text, gaps):
    either = policy("cage: any\nimage: [core, native-core]\n" + text)
    assert gap_names(either) == gaps
    assert len(doubts(either)) == len(gaps)
    assert doubts(policy(text)) == ()
    if gaps:
        with pytest.raises(PolicyError) as caught:
            policy(NATIVE + text)
        assert all(problem.line == 0 or problem.text for problem in caught.value.problems)
    else:
        assert policy(NATIVE + text).cage is CageKind.PROCESS


def test_more_ports_than_the_cage_has_are_a_gap():
    few = tuple(replace(HTTPS, ports=(port,)) for port in range(1, MAX_PORTS + 1))
    more = (*few, replace(HTTPS, ports=(9000,)))
    assert process_gaps(replace(CALCULATOR, network=few)) == ()
    (gap,) = process_gaps(replace(CALCULATOR, network=more))
    assert gap.message == "network: 65 different ports, and the process cage has 64"


def test_a_doubt_about_a_gap_says_which_sessions_are_refused(policy):
    one = policy("cage: any\nimage: [core, native-core]\nclock: frozen\n")
    (doubt,) = doubts(one)
    assert (doubt.line, doubt.hint) == (
        5,
        "sessions of native-core are refused; write clock: real, or use an image of the "
        "WebAssembly cage",
    )


def test_powerful_grants_are_worth_a_look(policy):
    assert [one.message.partition(":")[0] for one in doubts(policy(FULL))] == [
        "process.fork",
        "process.new_code",
    ]
    assert doubts(policy(NATIVE + "process: {programs: [/usr/bin/git]}\n")) == ()


# Programs


@pytest.mark.parametrize(
    "path",
    ["/", "/usr", "/usr/bin", "/bin", "/proc/self/exe", "/run/x", "/tmp/x", "/usr/bin/sudo",
     "/home/a", "/home/a/.local/bin/x", "/etc/init.d/x", "/opt/x/su"],
)  # fmt: skip
def test_a_dangerous_program_is_refused(path):
    assert dangerous_program(path) is not None


@pytest.mark.parametrize(
    "path",
    ["/usr/bin/git", "/usr/lib/git-core", "/opt/tools", "/home/a/tools/x", "/usr/local/bin/ruff",
     "/usr/bin/sudoku"],
)  # fmt: skip
def test_a_harmless_program_is_not(path):
    assert dangerous_program(path) is None


def test_a_link_to_a_dangerous_program_is_one():
    links = {"/opt/tool": "/usr/bin/sudo", "/opt/fine": "/usr/bin/git"}
    found = list(program_findings(tuple(links), [], (), lambda path: links.get(path, path)))
    assert [(one.path[-1], one.message) for one in found] == [
        (0, "dangerous grant: /usr/bin/sudo is made to run with another user's rights")
    ]


def test_programs_may_lie_where_a_grant_reads_plainly(policy):
    one = policy(
        NATIVE + "process: {programs: [/mnt/tools/x]}\n"
        "filesystem:\n  - {mount: /data, source: /mnt/tools, access: read}\n"
    )
    assert one.process is not None


# Ceilings


def test_narrowing_keeps_what_both_allow(policy):
    ceiling = policy(
        "cage: any\nimage: [core, native-data, native-core]\n"
        "isolation: {min: P3, require: [cpu]}\n"
        "process: {programs: [/usr/bin/git, /opt/tools/a, /opt/b]}\n"
    )
    both = narrow(policy(FULL), ceiling)
    assert both.isolation == Isolation(IsolationLevel.P4, frozenset({"cpu", "memory", "network"}))
    assert both.process is not None
    assert both.process.programs == ("/usr/bin/git", "/opt/tools/a")
    assert (both.process.fork, both.process.new_code) == (False, False)
    assert {rule.name for rule in both.process.places().values()} == {
        "process.programs[0]",
        "process.programs[1]",
    }
    assert narrow(policy(FULL), policy("cage: any\nimage: core\n")).process is None


@pytest.mark.parametrize(
    ("own", "other", "cage"),
    [("any", "wasm", "wasm"), ("wasm", "any", "wasm"), ("any", "any", "any"),
     ("process", "any", "process"), ("any", "process", "process")],
)  # fmt: skip
def test_narrowing_keeps_the_cage_of_both(policy, own, other, cage):
    images = {"wasm": "core", "process": "native-core", "any": "[core, native-core]"}
    one, two = (policy(f"cage: {kind}\nimage: {images[kind]}\n") for kind in (own, other))
    both = narrow(one, two)
    assert both.cage.value == cage
    assert {cage_of(image) for image in both.images} <= {
        kind for kind in CageKind if allows_cage(both, kind)
    }


def test_no_cage_in_common_is_one_problem(policy):
    with pytest.raises(PolicyError) as caught:
        narrow(policy(NATIVE), policy())
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (3, "cage: process here and wasm in sample")


def test_the_wasm_cage_has_nothing_to_say_of_processes(policy):
    both = narrow(policy(FULL), policy())
    assert (both.isolation, both.process) == (Isolation(), None)
    assert both.digest == replace(both, process=policy(FULL).process).digest


def test_a_ceiling_may_not_leave_what_the_cage_cannot_keep(policy):
    ceiling = policy("cage: any\nimage: [core, native-core]\nclock: frozen\nrandom: {seed: 3}\n")
    with pytest.raises(PolicyError) as caught:
        narrow(policy(NATIVE), ceiling)
    assert [(one.line, one.text) for one in caught.value.problems] == [
        (6, "random: {seed: 3}"),
        (5, "clock: frozen"),
    ]


def test_the_level_stands_where_the_stricter_one_does(policy):
    strict, loose = (
        policy(f"{NATIVE}isolation:\n{padding}  min: {level}\n")
        for level, padding in (("P4", ""), ("P2", "  # looser\n"))
    )
    assert narrow(loose, strict).rule("isolation.min").line == 6
    assert narrow(strict, loose).rule("isolation.min").line == 6
    assert narrow(loose, strict).isolation.minimum is IsolationLevel.P4
    assert narrow(loose, policy(NATIVE)).isolation.minimum is IsolationLevel.P3


def test_defaults_give_the_cage_and_its_isolation_but_no_rights(tmp_path):
    (tmp_path / "house.yaml").write_text(
        "version: 1\nname: house\ncage: process\nimage: native-core\n"
        "isolation: {min: P4}\nprocess: {fork: true}\n"
    )
    path = tmp_path / "a.yaml"
    path.write_text("version: 1\nname: a\ndefaults: house\n")
    heir = load(str(path))
    assert (heir.cage, heir.images) == (CageKind.PROCESS, ("native-core",))
    assert (heir.isolation.minimum, heir.process) == (IsolationLevel.P4, None)
    path.write_text("version: 1\nname: a\ncage: wasm\nimage: core\ndefaults: house\n")
    assert load(str(path)).isolation == Isolation()
    path.write_text("version: 1\nname: a\ncage: wasm\ndefaults: house\n")
    with pytest.raises(PolicyError, match="the image native-core runs in the cage `process`"):
        load(str(path))


# Differences


def told(old, new):
    return [f"{one.place}: {one.text}" for one in compare(old, new).looser]


def test_what_became_looser_is_told(policy):
    assert told(policy(NATIVE), policy(FULL.replace("core, ", "native-core, "))) == [
        "cage: wasm",
        "image: native-data",
        "process.fork: children may be forked",
        "process.new_code: memory that was written may be run",
        "process.programs: /opt/tools",
        "process.programs: /usr/bin/git",
    ]
    loose = FULL.replace("P4, require: [network, memory]", "P2, require: [network]")
    assert told(policy(FULL), policy(loose)) == [
        "isolation.min: P2, not P4",
        "isolation.require: memory may be absent",
    ]
    assert told(policy(FULL), policy(FULL)) == []
    assert told(policy(loose), policy(FULL)) == []


def test_a_program_below_a_granted_directory_is_none_that_came(policy):
    narrower = FULL.replace("/opt/tools", "/opt/tools/a")
    assert told(policy(FULL), policy(narrower)) == []
    assert told(policy(narrower), policy(FULL)) == ["process.programs: /opt/tools"]


def test_a_policy_of_both_cages_is_looser_than_one_of_either(policy):
    either = policy("cage: any\nimage: [core, native-core]\n")
    assert told(policy(), either) == ["cage: process", "image: native-core"]
    assert told(policy(NATIVE), either) == ["cage: wasm", "image: core"]
    assert told(either, policy()) == []


def test_a_text_reads_no_file_and_names_no_place_of_the_host():
    text = "version: 1\nname: a\ncage: process\nimage: native-core\nprocess: {programs: [/nowhere/x]}\n"
    assert parse(text, file="a.yaml", base="/").process is not None
