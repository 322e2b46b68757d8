"""
A proposed policy as a file: what of gates, bounds and texts it says, read back as a policy.
"""

import pytest

from policy.parse import load_text
from policy.proposal import propose
from policy.proposal_text import Needed, quoted
from policy.recorded import Recorded
from policy.requests import FileAction, FileRequest, tool_request

DIGEST = "b" * 64
BEANS = "books: {builtin: bean-check, file: main.beancount"
OWN = f"own: {{program: /etc/gates/own.py, sha256: {DIGEST}, image: core"
LEDGER = "mount: /ledger, source: /srv/books, access: transaction, commit_by: client"


def seen(*texts):
    return [Recorded("s", text, True, "r", "") for text in texts]


@pytest.fixture
def reads(tmp_path):
    (tmp_path / "ceilings").mkdir()
    return lambda text, name="sample": load_text(str(tmp_path / f"{name}.yaml"), text)


def proposed(reads, tmp_path, rest, *asked):
    """
    A policy of audit mode whose ceiling says the same, and what is proposed of it, read back.
    """
    (tmp_path / "ceilings" / "top.yaml").write_text(f"version: 1\nname: top\n{rest}")
    policy = reads(f"version: 1\nname: sample\nwithin: [top]\nmode: audit\n{rest}")
    found = propose(policy, "core", seen(*asked), reads)
    assert (found.unasked, found.missing) == (0, ())
    return policy, reads(found.text), found.text


@pytest.mark.parametrize(
    "gate",
    [
        f"{BEANS}}}",
        f"{BEANS}, entry: editable}}",
        f"{BEANS}, entry: editable, protected: ['rules/**'], plugins: [beancount.plugins.auto]}}",
        f"{BEANS}, protected: ['rules/**', x], max_deleted: 3, timeout: 9s, memory: 128Mi}}",
        f"{OWN}}}",
        f"{OWN}, on: ['*.py', 'a/**'], protected: [tests], trust: code, timeout: 1500ms}}",
    ],
)
def test_the_gates_of_a_mount_are_proposed_as_they_are(reads, tmp_path, gate):
    name = gate.partition(":")[0]
    rest = f"gates:\n  {gate}\nfilesystem:\n  - {{{LEDGER}, gate: {name}}}\n"
    old, new, text = proposed(reads, tmp_path, rest, "write /ledger/a", "commit /ledger")
    ((was,), (now,)) = (old.filesystem[0].gates, new.filesystem[0].gates)
    assert now.meaning == was.meaning
    assert ("max_deleted" in text) == (was.builtin is not None)


def test_a_gate_of_two_mounts_is_proposed_once_and_one_of_none_is_left_out(reads, tmp_path):
    other = LEDGER.replace("/ledger", "/other").replace("/srv/books", "/srv/other")
    third = LEDGER.replace("/ledger", "/third").replace("/srv/books", "/srv/third")
    rest = (
        f"gates:\n  {OWN}}}\n  {OWN.replace('own:', 'unused:', 1)}}}\nfilesystem:\n"
        f"  - {{{LEDGER}, gate: own}}\n  - {{{other}, gate: own}}\n  - {{{third}, gate: unused}}\n"
    )
    _, new, text = proposed(reads, tmp_path, rest, "write /ledger/a", "write /other/b")
    assert (text.count("  own: {"), "unused" in text) == (1, False)
    assert [[gate.name for gate in one.gates] for one in new.filesystem] == [["own"], ["own"]]


@pytest.mark.parametrize(
    ("bound", "argument"),
    [
        ("max: 5", 4),
        ("min: 2", 4),
        ("min: 2, max: 5", 4),
        ("max_length: 9", "word"),
        ("allow: [word, true, 3]", "word"),
    ],
)
def test_the_bounds_of_an_argument_are_proposed_as_they_are(reads, tmp_path, bound, argument):
    rest = f"tools: [{{name: look, arguments: {{n: {{{bound}}}}}}}]\n"
    old, new, _ = proposed(reads, tmp_path, rest, str(tool_request("look", {"n": argument})))
    ((was,), (now,)) = (old.tools[0].bounds, new.tools[0].bounds)
    assert (now.name, now.least, now.most) == (was.name, was.least, was.most)
    assert (now.longest, now.allowed) == (was.longest, was.allowed)


@pytest.mark.parametrize(
    ("audit", "told"),
    [
        ("", ""),
        ("audit: {redact: [password, x-*]}\n", "redact: [password, "),
        ("audit: {level: replay}\n", "audit: {level: replay}"),
        ("audit: {level: replay, redact: [abc]}\n", "audit: {level: replay, redact: [abc]}"),
    ],
)
def test_what_is_recorded_stays_as_it_was(reads, tmp_path, audit, told):
    rest = f"tools: [{{name: look}}]\n{audit}"
    old, new, text = proposed(reads, tmp_path, rest, str(tool_request("look", {})))
    assert new.audit == old.audit
    assert (told in text, "audit:" in text.replace("audit mode", "")) == (True, bool(audit))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_a_line_says_three_of_what_needed_it_and_how_many_more(count):
    asked = tuple(FileRequest(FileAction.READ, f"/data/{number}") for number in range(count))
    told = [f"read /data/{number}" for number in range(min(3, count))]
    more = [f"and {count - 3} more"] if count > 3 else []
    assert Needed(None, asked).comment() == "; ".join([*told, *more])
    assert Needed(None, asked, "so").comment() == "; ".join([*told, *more, "so"])


@pytest.mark.parametrize("length", [79, 80, 81])
def test_a_line_shows_eighty_characters_of_a_request(length):
    asked = FileRequest(FileAction.READ, "/".ljust(length - len("read "), "x"))
    assert len(str(asked)) == length
    told = Needed(None, (asked,)).comment()
    assert told == (str(asked) if length <= 80 else str(asked)[:80] + "...")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a/b.c-d_e", "a/b.c-d_e"),
        ("/srv", "/srv"),
        ("No", '"No"'),
        ("null", '"null"'),
        ("1a", '"1a"'),
        ("a b", '"a b"'),
        ("*", '"*"'),
        ("a: b", '"a: b"'),
        ("é\n", '"é\\n"'),
    ],
)
def test_a_text_is_plain_only_where_every_reader_takes_it_for_one(text, written):
    assert quoted(text) == written


@pytest.mark.parametrize("length", [79, 80, 81])
def test_a_line_shows_eighty_characters_of_a_glob_that_is_left_out(reads, tmp_path, length):
    name = "x" * length
    mount = "mount: /data, source: /srv/data, access: read"
    (tmp_path / "ceilings" / "top.yaml").write_text(
        f"version: 1\nname: top\nfilesystem: [{{{mount}}}]\n"
    )
    head = "version: 1\nname: sample\nwithin: [top]\nmode: audit\n"
    policy = reads(f"{head}filesystem: [{{{mount}, deny: [{name}]}}]\n")
    text = propose(policy, "core", seen(f"read /data/{name}"), reads).text
    told = name if length <= 80 else f"{name[:80]}..."
    assert f"  # wider than it was needed: {told} is no more denied here\n" in text
