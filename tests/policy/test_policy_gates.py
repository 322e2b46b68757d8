"""
`gates`: what a file may say of them, what it may not, and how a change of them is told.
"""

import json

import pytest

from policy.compare import compare
from policy.digest import canonical, digest_of
from policy.doubts import doubts
from policy.effective import effective
from policy.errors import PolicyError
from policy.explain import explain
from policy.gates import Builtin, Trust, gate_images
from policy.narrow import narrow
from policy.parse import parse
from policy.request_text import parse_request
from policy.requests import CommitRequest

DIGEST = "a" * 64
BEANS = "bean-check: {builtin: bean-check, file: main.beancount}"
OWN = f"own: {{program: /etc/gates/own.py, sha256: {DIGEST}, image: core}}"
TESTS = OWN.replace("own:", "tests:", 1).replace("image: core", "image: core, trust: code")


def policy(*gates, uses="bean-check", access="transaction", more="", name="books"):
    text = f"version: 1\nname: {name}\n" + ("gates:\n" if gates else "")
    text += "".join(f"  {gate}\n" for gate in gates)
    uses = f", gate: {uses}" if uses else ""
    grant = f"mount: /ledger, source: /srv/books, access: {access}{uses}{more}"
    return parse(f"{text}filesystem:\n  - {{{grant}}}\n", file=f"{name}.yaml", base="/srv")


def problem(*gates, **options):
    with pytest.raises(PolicyError) as caught:
        policy(*gates, **options)
    return str(caught.value)


def test_bean_check_is_strict_where_the_file_says_nothing():
    (gate,) = policy(BEANS).filesystem[0].gates
    assert (gate.builtin, gate.file, gate.image) == (
        Builtin.BEAN_CHECK,
        "main.beancount",
        "native-books",
    )
    assert (gate.on, gate.protected) == (("**/*.beancount", "**/*.bean"), ("main.beancount",))
    assert (gate.trust, gate.max_deleted, gate.plugins) == (Trust.DATA, 0, ())
    assert (gate.timeout, gate.memory) == (20.0, 512 * 2**20)
    assert gate_images(policy(BEANS)) == ("native-books",)


def test_every_key_of_a_gate_arrives():
    (gate,) = (
        policy(
            'bean-check: {builtin: bean-check, file: a/b.bean, entry: editable, on: ["a/**"], '
            'protected: ["a/rules"], timeout: 2s, memory: 64Mi, max_deleted: 7, image: native-team, '
            "plugins: [beancount.plugins.leafonly], trust: data}"
        )
        .filesystem[0]
        .gates
    )
    assert (gate.file, gate.on, gate.protected) == ("a/b.bean", ("a/**",), ("a/rules",))
    assert (gate.timeout, gate.memory, gate.max_deleted) == (2.0, 64 * 2**20, 7)
    assert (gate.image, gate.plugins) == ("native-team", ("beancount.plugins.leafonly",))
    (own,) = policy(OWN, uses="own").filesystem[0].gates
    assert (own.program, own.sha256, own.on) == ("/etc/gates/own.py", DIGEST, ("**",))
    assert own.max_deleted is None


def test_where_the_check_begins_is_judged_whatever_else_is():
    text = BEANS.replace("}", ', entry: editable, on: ["entries/**"]}')
    assert policy(text).filesystem[0].gates[0].on == ("entries/**", "main.beancount")
    text = BEANS.replace("main.beancount", "books/main.txt")
    assert policy(text).filesystem[0].gates[0].on[-1] == "books/main.txt"


def test_gates_that_outlast_the_cell_that_commits_are_doubted():
    (doubt,) = doubts(policy(BEANS.replace("}", ", timeout: 1m}")))
    assert "the gates of /ledger may take 1m, and a cell that commits has 1m for all" in str(doubt)
    assert doubts(policy(BEANS)) == ()
    assert doubts(policy(BEANS.replace("}", ", timeout: 1m}"), more=", commit_by: client")) == ()


def test_a_mount_names_one_gate_or_several():
    assert [
        gate.name for gate in policy(BEANS, OWN, uses="[own, bean-check]").filesystem[0].gates
    ] == [
        "own",
        "bean-check",
    ]


@pytest.mark.parametrize(
    ("gates", "options", "said"),
    [
        ([BEANS], {"uses": "bean-chek"}, "no gate `bean-chek`; did you mean `bean-check`?"),
        ([BEANS, OWN], {}, "the gate `own` judges nothing"),
        ([BEANS], {"uses": "[bean-check, bean-check]"}, "names a gate twice"),
        ([BEANS], {"uses": "[]"}, "must have an entry"),
        ([BEANS], {"uses": "7"}, "must be a name or a list of names"),
        ([BEANS], {"access": "read-write"}, "has a meaning for transactions alone"),
        (
            [BEANS.replace("bean-check}", "x}").replace("builtin: bean-check", "builtin: x")],
            {},
            "cannot be `x`",
        ),
        (["bean-check: {file: main.beancount}"], {}, "one of ours or a program of yours"),
        (
            [BEANS.replace("file:", f"program: /a.py, sha256: {DIGEST}, file:")],
            {},
            "one of ours or",
        ),
        (["bean-check: {builtin: bean-check}"], {}, "begins to read at a file"),
        ([BEANS.replace("main.", "../main.")], {}, "no file below the mount"),
        ([BEANS.replace("main.beancount", "'*.beancount'")], {}, "no file below the mount"),
        ([BEANS.replace("}", ", trust: code}")], {}, "books that name code"),
        ([BEANS.replace("}", f", sha256: {DIGEST}}}")], {}, "for a `program` alone"),
        ([BEANS.replace("}", ", on: []}")], {}, "must have an entry"),
        ([BEANS.replace("}", ", timeout: 0s}")], {}, "out of range"),
        ([BEANS.replace("}", ", timeot: 1s}")], {}, "did you mean `timeout`?"),
        ([OWN.replace(", image: core", "")], {"uses": "own"}, "names no image to run in"),
        ([OWN.replace(f", sha256: {DIGEST}", "")], {"uses": "own"}, "sha256sum /etc/gates/own.py"),
        ([OWN.replace("/etc/gates/", "")], {"uses": "own"}, "not an absolute path"),
        ([OWN.replace("/etc/gates", "/srv/books/x")], {"uses": "own"}, "filesystem[0] may change"),
        ([OWN.replace("}", ", max_deleted: 1}")], {"uses": "own"}, "for bean-check alone"),
        ([OWN.replace("}", ", entry: editable}")], {"uses": "own"}, "for bean-check alone"),
        ([OWN.replace("}", ", file: a}")], {"uses": "own"}, "for bean-check alone"),
        ([OWN.replace("own:", "Own!:", 1)], {"uses": "own"}, "no name of a gate"),
        ([TESTS], {"uses": "tests"}, "can forge a yes"),
    ],
)
def test_what_no_gate_could_keep_does_not_load_and_says_where(gates, options, said):
    text = problem(*gates, **options)
    assert said in text
    assert "books.yaml:" in text
    assert "^" in text


@pytest.mark.parametrize(
    ("gates", "options", "place"),
    [
        ([BEANS, OWN], {}, "books.yaml:5:3: the gate `own`"),
        ([OWN.replace("own:", "Own!:", 1)], {"uses": "own"}, "books.yaml:4:3: `Own!` is"),
        (
            [OWN.replace("}", ", plugins: [a]}")],
            {"uses": "own"},
            "gates.own.plugins: has a meaning",
        ),
        ([OWN.replace("}", ", file: a}")], {"uses": "own"}, "gates.own.file: has a meaning"),
        ([BEANS, OWN], {"uses": "x"}, "= the gates here are bean-check, own"),
        ([BEANS.replace("}", ', on: ["/a"]}')], {}, "gates.bean-check.on[0]: `/a`: "),
    ],
)
def test_a_mistake_is_told_at_the_key_that_has_it(gates, options, place):
    assert place in problem(*gates, **options)


def test_where_there_are_no_gates_a_mount_that_names_one_is_told_so():
    with pytest.raises(PolicyError, match="the gates here are none: write `gates`"):
        parse(
            "version: 1\nname: books\nfilesystem:\n"
            "  - {mount: /ledger, source: /srv/books, access: transaction, gate: x}\n",
            file="books.yaml",
            base="/srv",
        )


@pytest.mark.parametrize("length", [1023, 1024, 1025])
def test_the_names_of_a_gates_files_have_1024_characters_at_most(length):
    file = BEANS.replace("main.beancount", "x" * length)
    program = OWN.replace("/etc/gates/own.py", "/".ljust(length, "x"))
    for gate, uses in ((file, "bean-check"), (program, "own")):
        if length <= 1024:
            assert policy(gate, uses=uses)
        else:
            assert "is no" in problem(gate, uses=uses)


@pytest.mark.parametrize("name", ["''", "a//b", "a/./b", "a\\nb", "'a?'"])
def test_a_file_of_a_gate_is_one_below_the_mount(name):
    text = BEANS.replace("main.beancount", f'"{name}"' if "\\" in name else name)
    assert "is no file below the mount" in problem(text)


def test_a_gate_that_runs_code_stands_beside_another_condition():
    assert policy(TESTS, uses="tests", more=", commit_by: client")
    both = policy(TESTS, BEANS, uses="[tests, bean-check]")
    assert "its yes is advice" in effective(both)
    assert effective(both).count("its yes is advice") == 1


def test_the_digest_is_of_what_the_gates_mean():
    one, other = (
        policy(BEANS, OWN, uses="[own, bean-check]"),
        policy(OWN, BEANS, uses="[bean-check, own]"),
    )
    assert digest_of(one) == digest_of(other)
    assert digest_of(policy(BEANS)) == digest_of(policy(BEANS.replace("}", ", timeout: 20s}")))
    for changed in ("timeout: 21s", "max_deleted: 1", "entry: editable", 'protected: ["x"]'):
        assert digest_of(policy(BEANS)) != digest_of(policy(BEANS.replace("}", f", {changed}}}")))


def test_gates_stand_in_the_canonical_form_in_the_order_of_what_they_mean():
    own = OWN.replace("own:", "aaa:", 1)
    meaning = json.loads(canonical(policy(own, BEANS, uses="[aaa, bean-check]")))
    assert [one["name"] for one in meaning["filesystem"][0]["gates"]] == ["bean-check", "aaa"]


def texts(differences):
    return [one.text for one in differences]


def test_a_gate_that_is_gone_or_another_is_looser():
    plain = parse(
        "version: 1\nname: books\nfilesystem:\n"
        "  - {mount: /ledger, source: /srv/books, access: transaction}\n",
        file="books.yaml",
        base="/srv",
    )
    gone = compare(policy(BEANS), plain)
    assert texts(gone.looser) == ["may be committed without the gate bean-check"]
    assert not gone.tighter
    assert texts(compare(plain, policy(BEANS)).tighter) == texts(gone.looser)
    other = compare(policy(BEANS), policy(BEANS.replace("}", ", max_deleted: 9}")))
    assert texts(other.looser) == ["may be committed past another gate bean-check"]
    assert compare(policy(BEANS), policy(BEANS)).looser == ()


def test_the_gates_of_a_ceiling_judge_as_well():
    narrowed = narrow(policy(OWN, uses="own"), policy(BEANS, name="most"))
    assert [gate.name for gate in narrowed.filesystem[0].gates] == ["own", "bean-check"]
    assert len(narrow(policy(BEANS), policy(BEANS, name="most")).filesystem[0].gates) == 1
    wide = parse(
        "version: 1\nname: wide\nfilesystem:\n"
        "  - {mount: /ledger, source: /srv/books, access: read-write}\n",
        file="wide.yaml",
        base="/srv",
    )
    for one, two in ((wide, policy(BEANS)), (policy(BEANS), wide)):
        (grant,) = narrow(one, two).filesystem
        assert [gate.name for gate in grant.gates] == ["bean-check"]


def inner(*, name="inner"):
    return parse(
        f"version: 1\nname: {name}\nfilesystem:\n"
        "  - {mount: /ledger/2026, source: /srv/books/2026, access: transaction}\n",
        file=f"{name}.yaml",
        base="/srv",
    )


@pytest.mark.parametrize("turned", [False, True])
def test_a_gate_is_not_moved_to_a_directory_within_its_own(turned):
    both = (policy(BEANS), inner()) if turned else (inner(), policy(BEANS))
    with pytest.raises(PolicyError, match="judges another directory than /ledger/2026"):
        narrow(*both)


@pytest.mark.parametrize("turned", [False, True])
def test_a_mount_without_a_gate_meets_one_within_it(turned):
    plain = policy(uses="")
    (grant,) = narrow(*((plain, inner()) if turned else (inner(), plain))).filesystem
    assert (grant.mount, grant.gates) == ("/ledger/2026", ())


def test_what_judges_a_mount_is_shown_and_explained():
    assert (
        "judged by bean-check: bean-check from main.beancount in native-books; "
        "on **/*.beancount, **/*.bean; nothing may change main.beancount; up to 0 lines may go; "
        "20s and 512Mi"
    ) in effective(policy(BEANS))
    assert "transaction, judged by bean-check" in explain(
        policy(BEANS), parse_request("commit /ledger")
    )
    assert CommitRequest("/ledger") == parse_request("commit /ledger")
