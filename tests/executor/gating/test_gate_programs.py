"""
The cell that judges: what the administrator's file is, to the byte, and what it is told.
"""

import contextlib
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from executor.gating.programs import MOST_PROGRAM, NoProgram, code_of
from executor.gating.runs import policy_of
from executor.kernel.judging import Case
from executor.transactions.changes import Change, ChangeKind
from policy.parse import parse

ODD = "a 'quoted' \"name\"\\\n{x}\u2028.txt"


def case(program, *paths, digest=None):
    digest = digest or hashlib.sha256(program.read_bytes()).hexdigest()
    policy = parse(
        f"version: 1\nname: a\ngates: {{one: {{program: {program}, sha256: '{digest}', image: core}}}}\n"
        "filesystem:\n  - {mount: /m, source: /srv/m, access: transaction, gate: one}\n",
        file="a.yaml",
        base="/",
    )
    changes = tuple(Change(path, ChangeKind.ADDED, directory=False) for path in paths)
    return Case(policy.filesystem[0].gates[0], Path("/nowhere"), changes, "d" * 64, "s")


def answer_of(code):
    """
    What the cell's last expression is, and what it prints.
    """
    *before, last = code.splitlines()
    names, out = {}, io.StringIO()
    with contextlib.redirect_stdout(out):
        exec("\n".join(before), names)
        return eval(last, names), out.getvalue()


def written(tmp_path, text):
    program = tmp_path / "gate.py"
    program.write_text(text)
    return program


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("pass", "passed"),
        ("raise SystemExit", "passed"),
        ("raise SystemExit(0)", "passed"),
        ("raise SystemExit(1)", "failed"),
        ("raise SystemExit('why')", "failed"),
        ("raise SystemExit(False)", "passed"),
        ("1 / 0", "failed"),
        ("no python", "failed"),
    ],
)
def test_a_program_passes_by_coming_to_its_end(tmp_path, text, answer):
    assert answer_of(code_of(case(written(tmp_path, text))))[0] == answer


def test_names_reach_the_program_as_they_are(tmp_path):
    program = written(tmp_path, "print(repr((TREE, BEFORE, CHANGED)))")
    assert answer_of(code_of(case(program, ODD, "b")))[1].strip() == repr(
        ("/tree", "/before", [ODD, "b"])
    )


def test_another_file_than_the_policy_names_does_not_run(tmp_path):
    program = written(tmp_path, "print(1)")
    with pytest.raises(NoProgram) as caught:
        code_of(case(program, digest="a" * 64))
    assert hashlib.sha256(b"print(1)").hexdigest() in caught.value.why
    assert code_of(case(program))


@pytest.mark.parametrize("data", [b"#" * (MOST_PROGRAM + 1), b"\xff"])
def test_what_is_no_program_does_not_run(tmp_path, data):
    program = tmp_path / "gate.py"
    program.write_bytes(data)
    with pytest.raises(NoProgram):
        code_of(case(program))


def test_more_changes_than_a_cell_can_be_told_of_are_no_yes(tmp_path):
    program = written(tmp_path, "pass")
    with pytest.raises(NoProgram) as caught:
        code_of(case(program, *(f"{number:04}" + "x" * 1000 for number in range(2000))))
    assert "commit fewer at a time" in caught.value.told


NO_FILES = """
import resource
from pathlib import Path
from executor.gating.programs import code_of
from executor.kernel.judging import Case
from policy.parse import parse
text = '''version: 1
name: a
gates: {one: {builtin: bean-check, file: main.beancount}}
filesystem:
  - {mount: /m, source: /srv/m, access: transaction, gate: one}
'''
(grant,) = parse(text, file="a.yaml", base="/").filesystem
resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
print(len(code_of(Case(grant.gates[0], Path("/nowhere"), (), "d" * 64, "s"))) > 5000)
"""


def test_a_gate_of_ours_needs_no_file_once_the_server_has_become_its_account():
    """
    Codecage may lie where that account may not look: below the home of root, for example.
    """
    ran = subprocess.run(
        [sys.executable, "-c", NO_FILES], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("True\n", "")


def test_a_gate_may_read_its_two_directories_and_nothing_else(tmp_path):
    program = written(tmp_path, "pass")
    policy = policy_of(case(program).gate, Path("/state/gate-1"))
    assert [(one.mount, one.source, one.access.writes) for one in policy.filesystem] == [
        ("/tree", "/state/gate-1/after", False),
        ("/before", "/state/gate-1/before", False),
    ]
    assert (policy.network, policy.tools, policy.environment, policy.process) == ((), (), (), None)
    assert policy.limits.cells == 1
    assert policy.digest == policy_of(case(program).gate, Path("/state/gate-2")).digest
