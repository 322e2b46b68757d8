"""
Books are judged by the real beancount, through a real server, in a cage of its own. What agents try
against it comes first as it works where nothing stands in the way.

Green does not prove that beancount's parser, which is C and reads hostile text, cannot be taken
over: that would be code within the gate's box, which could then say yes.
"""

import subprocess
import sys

import pytest

from agent_client import CommitOutcome, Judgement
from executor.audit.read import records
from tests.e2e.gates_world import BOOKS, FIRST, MAIN, NEEDED, fixtures, policy, write
from tests.e2e.serving import ROOT, RUN_AS, environment, private_directory, refusal

pytestmark = NEEDED
IMAGES = ["core", "native-core"]
BEANS = "bean-check: {builtin: bean-check, file: main.beancount}"

UNBALANCED = '2026-01-03 * "Sale"\n  Assets:Cash  100 EUR\n  Income:Sales  -90 EUR\n'
BALANCED = UNBALANCED.replace("-90", "-100")


def policies(_where, ledger):
    loose = BEANS.replace("}", ", entry: editable, max_deleted: 1}")
    return {"books": policy("books", ledger, BEANS), "loose": policy("loose", ledger, loose)}


world, books = fixtures(policies)


# ---- what happens where nothing stands in the way ------------------------------------------------


def checked_bare(folder):
    """
    `bean-check` as it comes, without a cage: its exit status, and what it writes.
    """
    site = BOOKS.site_packages[0]
    program = (
        f"import sys; sys.path.append({site!r})\n"
        "from beancount.scripts.check import main\n"
        f"sys.argv = ['bean-check', '--no-cache', {str(folder / 'main.beancount')!r}]\nmain()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_a_plugin_forges_the_exit_of_a_bare_bean_check(tmp_path):
    (tmp_path / "main.beancount").write_text(
        'option "insert_pythonpath" "true"\nplugin "evil"\n'
        + MAIN.replace("include", "; ")
        + UNBALANCED
    )
    assert checked_bare(tmp_path)[0] == 1
    (tmp_path / "evil.py").write_text("import os\nos._exit(0)\n")
    assert checked_bare(tmp_path)[0] == 0


def test_an_include_shows_any_file_to_a_bare_bean_check(tmp_path):
    (tmp_path / "main.beancount").write_text('include "/etc/passwd"\n')
    assert "/bin/" in checked_bare(tmp_path)[1]


# ---- the books of an agent -----------------------------------------------------------------------


@pytest.mark.parametrize("image", IMAGES)
def test_an_agent_reads_what_bean_check_says_corrects_it_and_commits(world, image):
    before = world.tree()
    with world.cage.session("books", image=image) as session:
        write(session, "entries/sale.beancount", UNBALANCED)
        seen = session.run("import codecage\ncodecage.commit()")
        assert seen.error.name.endswith("GateFailed")
        assert "entries/sale.beancount:1: Transaction does not balance: (10 EUR)" in seen.text
        assert world.tree() == before
        write(session, "entries/sale.beancount", BALANCED)
        assert "bean-check: passed" in session.run("codecage.commit()").text
        assert world.tree() == {**before, "entries/sale.beancount": BALANCED}
    (failed, no), (passed, yes) = world.commits(session.id)
    assert (no.outcome, yes.outcome) == ("gate failed", "ok")
    assert "does not balance" in dict(no.detail)["gate.bean-check"]
    assert "gate bean-check failed, session " in dict(failed.detail)["reason"]
    assert "gate bean-check passed, session " in dict(passed.detail)["reason"]


def test_a_gates_run_is_in_the_record_as_a_session_of_its_own(world):
    with world.cage.session("books") as session:
        write(session, "entries/sale.beancount", UNBALANCED)
        report = session.commit()
        (listed,) = [one.id for one in world.cage.sessions()]
        assert listed == session.id
    (verdict,) = report.gates
    assert (report.outcome, verdict.judgement) == (CommitOutcome.GATE_FAILED, Judgement.FAILED)
    assert not report.committed
    assert "does not balance" in report.text
    rows = [*records(world.audit, session=verdict.session_id, limit=1000)]
    events = [row.event.value for row in rows]
    assert (events[0], events[-1]) == ("session.create", "session.end")
    assert events.count("cell.start") == 1
    labels = dict(rows[0].detail)["labels"]
    assert session.id in labels
    assert report.digest in labels
    read = {str(row.request) for row in rows if row.request}
    assert {"read /tree/main.beancount", "read /tree/entries/sale.beancount"} <= read
    assert all(" /tree" in request or " /before" in request for request in read), read


def test_a_dry_run_tells_the_verdict_and_does_nothing(world):
    before = world.tree()
    with world.cage.session("books") as session:
        write(session, "entries/sale.beancount", UNBALANCED)
        seen = session.run("import codecage\ncodecage.dry_run()")
        assert "/ledger: preview" in seen.text
        assert "does not balance" in seen.text
        report = session.commit(dry_run=True)
        assert (report.outcome, report.gates[0].judgement) == (
            CommitOutcome.PREVIEW,
            Judgement.FAILED,
        )
    assert world.tree() == before
    assert world.commits(session.id) == []


def test_who_was_slower_gets_a_conflict(world):
    with world.cage.session("books") as slower, world.cage.session("books") as quicker:
        for session in (slower, quicker):
            write(session, "entries/sale.beancount", BALANCED)
        assert quicker.commit().outcome is CommitOutcome.COMMITTED
        report = slower.commit()
        assert (report.outcome, report.conflicts) == (
            CommitOutcome.CONFLICT,
            ("entries/sale.beancount",),
        )
    assert [row.outcome for _, row in world.commits(slower.id)] == ["conflict"]
    assert [row.outcome for _, row in world.commits(quicker.id)] == ["ok"]


HOSTILE = {
    "a plugin": (
        {
            "entries/sale.beancount": 'plugin "evil"\n' + UNBALANCED,
            "evil.py": "import os; os._exit(0)",
        },
        "names the plugin 'evil'",
    ),
    "a plugin where a parser comes back from a mistake": (
        {"entries/sale.beancount": 'nonsense, plugin "evil" "config"\n'},
        "names the plugin 'evil'",
    ),
    "the path of plugins": (
        {"entries/sale.beancount": 'option "insert_pythonpath" "true"\n'},
        "has the option insert_pythonpath",
    ),
    "an include of the host": (
        {"entries/sale.beancount": 'include "/etc/passwd"\n'},
        "includes '/etc/passwd', which leads out",
    ),
    "an include above the books": (
        {"entries/sale.beancount": 'include "../../etc/pass*"\n'},
        "which leads out of the books",
    ),
    "documents of the host": (
        {"entries/sale.beancount": 'option "documents" "/etc"\n'},
        "which leads out of the books",
    ),
    "an option that lets anything balance": (
        {"entries/sale.beancount": 'option "inferred_tolerance_default" "*:1000"\n' + UNBALANCED},
        "changes the option inferred_tolerance_default",
    ),
    "an option that leaves checks out": (
        {"entries/sale.beancount": 'option "plugin_processing_mode" "raw"\n' + UNBALANCED},
        "changes the option plugin_processing_mode",
    ),
    "books that nobody includes": (
        {"elsewhere.beancount": UNBALANCED},
        "elsewhere.beancount: not included by main.beancount",
    ),
    "an encrypted file": (
        {"entries/sale.beancount": "-----BEGIN PGP MESSAGE-----\n", "entries/x.beancount": ""},
        None,
    ),
    "another entry file": (
        {"main.beancount": ""},
        "may not change what the gate bean-check goes by",
    ),
    "lines that change places": (
        {"entries/first.beancount": "\n".join(reversed(FIRST.splitlines()))},
        "removes or changes 2 lines or entries that were there",
    ),
    "postings put into an old entry": (
        {"entries/first.beancount": FIRST + "  Assets:Cash  9 EUR\n  Income:Sales  -9 EUR\n"},
        "removes or changes 1 lines or entries that were there",
    ),
    "an emptied file": (
        {"entries/first.beancount": ""},
        "removes or changes 3 lines or entries that were there",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_what_could_forge_an_answer_is_refused_before_anything_runs(world, attack):
    files, said = HOSTILE[attack]
    before = world.tree()
    with world.cage.session("books") as session:
        for path, text in files.items():
            write(session, path, text)
        report = session.commit()
        assert report.outcome is CommitOutcome.GATE_FAILED
        if said is not None:
            assert report.gates[0].judgement is Judgement.REFUSED
            assert said in report.gates[0].message
        assert "/bin/" not in report.text  # a line of /etc/passwd
        assert "root:" not in report.text
    assert world.tree() == before


def test_a_text_around_a_balance_does_not_hide_it(world):
    """
    A text may go over several lines, so every line of the file stays and the balance does not.
    """
    balance = "2026-01-31 balance Assets:Cash  1 EUR\n"
    theft = '2026-01-03 * "Theft"\n  Assets:Cash  -1 EUR\n  Income:Sales  1 EUR\n\n'
    books = world.ledger / "entries" / "first.beancount"
    books.write_text(f"{FIRST}\n{balance}")
    with world.cage.session("books") as session:
        write(session, "entries/first.beancount", f"{FIRST}\n{theft}{balance}")
        (verdict,) = session.commit().gates
        assert "Balance failed for 'Assets:Cash'" in verdict.message
        hidden = f'{FIRST}\n{theft}2026-01-03 note Assets:Cash "see\n{balance}"\n'
        write(session, "entries/first.beancount", hidden)
        (verdict,) = session.commit().gates
        assert verdict.judgement is Judgement.REFUSED
        assert "1 lines or entries that were there: entries/first" in verdict.message
        more = FIRST.replace("First", "Second").replace("01-02", "02-02")
        write(session, "entries/first.beancount", f"{FIRST}\n{balance}\n{more}")
        assert session.commit().committed


def test_a_cache_of_beancounts_is_never_read(world):
    # It is a pickle, beside the books, under a name that the library chooses.
    pickle = b"cos\n_exit\n(I0\ntR."
    with world.cage.session("books") as session:
        seen = session.run(
            f"with open('/ledger/.main.beancount.picklecache', 'wb') as file: file.write({pickle!r})"
        )
        assert seen.ok, seen.text
        write(session, "entries/sale.beancount", UNBALANCED)
        assert session.commit().gates[0].judgement is Judgement.FAILED


def test_an_entry_file_that_may_be_edited_keeps_its_lines(world):
    with world.cage.session("loose") as session:
        write(session, "main.beancount", "")
        report = session.commit()
        assert "removes or changes 4 lines" in report.gates[0].message
        write(session, "main.beancount", MAIN.replace("Income:Sales", "Income:Fees"))
        assert session.commit().gates[0].judgement is Judgement.FAILED
        write(session, "main.beancount", MAIN + "2026-01-01 open Income:Fees EUR\n")
        assert session.commit().committed
    assert "Income:Fees" in world.tree()["main.beancount"]


def test_a_server_without_the_image_of_a_gate_does_not_start():
    with private_directory() as where:
        for made in ("ledger", "policies"):
            (where / made).mkdir()
        beans = BEANS.replace("}", ", image: native-none}")
        (where / "policies" / "books.yaml").write_text(policy("books", where / "ledger", beans))
        said = refusal(where / "server", *RUN_AS, "--policies", str(where / "policies"))
        assert (
            "the image native-none, in which a gate of the policy books runs, is not built" in said
        )


# ---- the example ---------------------------------------------------------------------------------


def test_the_bookkeepers_example_is_refused_is_slower_and_comes_to_its_end():
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo_bookkeeper.py"), "--scripted"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "entries/2026-02.beancount:5: Transaction does not balance: (-7.98 EUR)" in ended.stdout
    assert "codecage.Conflict: nothing was committed to /ledger" in ended.stdout
    posted = ended.stdout.split("as the host finds it")[1].split("the audit trail")[0]
    assert "Schulz" in posted
    assert "Expenses:Tax              7.98 EUR" in posted
    trail = [line for line in ended.stdout.splitlines() if " commit /ledger " in line]
    assert [" ".join(line.split()[7:9]) for line in trail] == ["gate failed", "conflict", "ok, 364"]
    assert "whole: " in ended.stdout
