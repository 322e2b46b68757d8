"""
Agents change an accountant's books through a commit: nothing is touched before, and nobody's work
is lost. The same in both cages, through a real server.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

import agent_client
from agent_client import ChangeKind, CommitOutcome
from executor.audit.read import records
from tests.e2e.serving import ACCOUNT, ROOT, RUN_AS, needs_image, private_directory, refusal

pytestmark = [pytest.mark.image, needs_image]
IMAGES = ["core", "native-core"]

BOOK = "2026-01-02 open Assets:Cash\n"
POLICY = """
version: 1
name: books
description: The ledger, by commits.
cage: any
image: [core, native-core]
filesystem:
  - {{mount: /ledger, source: {ledger}, access: transaction, quota: 1Mi, max_files: 50,
     deny: ["private/**"], commit_by: {by}}}
limits: {{sessions: 8}}
"""
WORK = """
import os
assert os.listdir('/ledger') == ['main.bean', 'old.txt'], os.listdir('/ledger')
with open('/ledger/main.bean', 'a') as book: book.write('2026-01-03 open Income:Sales\\n')
os.mkdir('/ledger/2026')
with open('/ledger/2026/notes.txt', 'w') as file: file.write('new')
os.replace('/ledger/2026/notes.txt', '/ledger/2026/note.txt')
os.remove('/ledger/old.txt')
print(sorted(os.listdir('/ledger')), open('/ledger/main.bean').read().count('open'))
"""


class World:
    def __init__(self, cage, ledger, audit):
        self.cage, self.ledger, self.audit = cage, ledger, audit

    def tree(self):
        return {
            str(path.relative_to(self.ledger)): path.read_text()
            for path in sorted(self.ledger.rglob("*"))
            if path.is_file()
        }

    def rows(self, session):
        found = []
        names = {}
        for row in records(self.audit, session=session):
            if row.request and str(row.request).startswith("commit"):
                found.append((row.event.value, str(row.request), row.answer.value, row.outcome))
                names[row.sequence] = len(found) - 1
            elif row.refers in names:
                found.append((row.event.value, "", None, str(row.outcome)))
        return found


@pytest.fixture(scope="module")
def world():
    # Not below pytest's directories, which the next pytest that starts closes to other accounts.
    with private_directory() as where:
        ledger, guarded, policies = (where / name for name in ("ledger", "guarded", "policies"))
        for made in (ledger, guarded, policies):
            made.mkdir()
        for made in (where, ledger, guarded):
            made.chmod(0o777)
        (policies / "books.yaml").write_text(POLICY.format(ledger=ledger, by="guest"))
        guarded_policy = POLICY.format(ledger=guarded, by="client").replace(
            "name: books", "name: kept"
        )
        (policies / "kept.yaml").write_text(guarded_policy)
        audit = where / "audit" / "audit.sqlite3"
        with agent_client.connect(policies=str(policies), audit=str(audit), run_as=ACCOUNT) as cage:
            made = World(cage, ledger, audit)
            made.guarded = guarded
            yield made


@pytest.fixture(autouse=True)
def books(world):
    for directory in (world.ledger, world.guarded):
        for path in sorted(directory.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (directory / "main.bean").write_text(BOOK)
        (directory / "main.bean").chmod(0o666)
        (directory / "old.txt").write_text("old")
        (directory / "private").mkdir()
        (directory / "private" / "key").write_text("secret")


def ran(session, code):
    seen = session.run(code)
    assert seen.ok, seen.text
    return seen.text


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_changes_on_the_host_before_the_clients_commit(world, image):
    before = world.tree()
    with world.cage.session("books", image=image) as session:
        assert "['2026', 'main.bean'] 2" in ran(session, WORK)
        assert world.tree() == before
        preview = session.commit(dry_run=True)
        assert preview.outcome is CommitOutcome.PREVIEW
        assert world.tree() == before
        report = session.commit("/ledger")
        assert report.outcome is CommitOutcome.COMMITTED
        assert (report.changes, report.digest) == (preview.changes, preview.digest)
        assert [(one.kind, one.path) for one in report.changes] == [
            (ChangeKind.DELETED, "old.txt"),
            (ChangeKind.MODIFIED, "main.bean"),
            (ChangeKind.ADDED, "2026"),
            (ChangeKind.ADDED, "2026/note.txt"),
        ]
        assert "+2026-01-03 open Income:Sales" in report.text
        assert world.tree() == {
            "2026/note.txt": "new",
            "main.bean": BOOK + "2026-01-03 open Income:Sales\n",
            "private/key": "secret",
        }
        assert "open Income" in ran(session, "print(open('/ledger/main.bean').read())")
        assert session.commit().outcome is CommitOutcome.UNCHANGED
    rows = world.rows(session.id)
    assert rows[:2] == [
        ("decision", "commit /ledger", "allow", None),
        ("outcome", "", None, "ok"),
    ]


@pytest.mark.parametrize("image", IMAGES)
def test_the_guest_commits_by_itself_and_reads_what_came_of_it(world, image):
    with world.cage.session("books", image=image) as session:
        ran(session, WORK)
        shown = ran(session, "import codecage\ncodecage.dry_run()")
        assert "/ledger: preview" in shown
        assert "modified main.bean" in shown
        assert "committed" in ran(session, "codecage.commit('/ledger')")
        assert world.tree()["2026/note.txt"] == "new"
        assert ran(session, "print(codecage.commit().outcome)") == "unchanged"


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_rolled_back_or_never_committed_is_gone(world, image):
    before = world.tree()
    with world.cage.session("books", image=image) as session:
        ran(session, WORK)
        session.rollback()
        assert "1" in ran(session, "print(open('/ledger/main.bean').read().count('open'))")
        ran(session, WORK)
        ran(session, "import codecage; codecage.rollback()")
        ran(session, WORK)
    assert world.tree() == before


@pytest.mark.parametrize("image", IMAGES)
def test_the_second_of_two_sessions_meets_a_conflict_and_starts_anew(world, image):
    add = "with open('/ledger/main.bean', 'a') as book: book.write('from {}\\n')"
    with (
        world.cage.session("books", image=image) as one,
        world.cage.session("books", image=image) as two,
    ):
        ran(one, add.format("one"))
        ran(two, add.format("two"))
        assert two.commit().committed
        report = one.commit()
        assert report.outcome is CommitOutcome.CONFLICT
        assert report.conflicts == ("main.bean",)
        seen = one.run("import codecage\ncodecage.commit()")
        assert seen.error.name == "Conflict"
        assert "main.bean" in seen.error.message
        assert "codecage.rollback('/ledger')" in seen.error.message
        ran(one, f"codecage.rollback()\n{add.format('one')}\ncodecage.commit()")
    assert world.tree()["main.bean"] == f"{BOOK}from two\nfrom one\n"
    assert world.rows(two.id)[1][3] == "ok"
    assert [row[3] for row in world.rows(one.id) if row[0] == "outcome"] == [
        "conflict",
        "conflict",
        "ok",
    ]


@pytest.mark.parametrize("image", IMAGES)
def test_a_denied_name_is_neither_seen_nor_changed_nor_committed(world, image):
    before = world.tree()
    with world.cage.session("books", image=image) as session:
        for act in (
            "open('/ledger/private/key')",
            "open('/ledger/private/new', 'w')",
            "os.remove('/ledger/private/key')",
            "os.replace('/ledger/old.txt', '/ledger/private/old')",
            "open('/ledger/.codecage-commit')",
            "open('/ledger/.git', 'w')",
            "os.symlink('/etc/passwd', '/ledger/link')",
            "os.link('/ledger/old.txt', '/ledger/link')",
            "os.chmod('/ledger/old.txt', 0o4755)",
        ):
            assert session.run(f"import os\n{act}").error is not None, act
        assert session.commit().outcome is CommitOutcome.UNCHANGED
        ran(session, "open('/ledger/seen', 'w').close()")
        assert session.commit().committed
    assert world.tree() == {**before, "seen": ""}


@pytest.mark.parametrize("image", IMAGES)
def test_where_the_client_commits_the_guest_cannot(world, image):
    with world.cage.session("kept", image=image) as session:
        ran(session, "with open('/ledger/new', 'w') as file: file.write('n')")
        seen = session.run("import codecage\ncodecage.commit()")
        assert seen.error is not None
        assert "the session's client does" in seen.error.message
        assert "preview" in ran(session, "codecage.dry_run()")
        assert not (world.guarded / "new").exists()
        assert session.commit().committed
    assert (world.guarded / "new").read_text() == "n"
    assert [row[2] for row in world.rows(session.id) if row[0] == "decision"] == ["deny", "allow"]


@pytest.mark.parametrize("image", IMAGES)
def test_a_file_that_is_still_open_holds_a_commit_up(world, image):
    before = world.tree()
    with world.cage.session("books", image=image) as session:
        ran(session, "file = open('/ledger/new', 'w'); file.write('n'); file.flush()")
        with pytest.raises(agent_client.InvalidRequest, match="/ledger/new is open to be written"):
            session.commit()
        assert world.tree() == before
        ran(session, "file.close()")
        assert session.commit().committed
    assert world.tree() == {**before, "new": "n"}


@pytest.mark.parametrize("image", IMAGES)
def test_a_quota_bounds_what_is_kept_and_a_rollback_gives_it_back(world, image):
    fill = "with open('/ledger/big', 'wb') as file: file.write(bytes(900_000))"
    more = "with open('/ledger/more', 'wb') as file: file.write(bytes(900_000))"
    with world.cage.session("books", image=image) as session:
        ran(session, fill)
        assert "Disk quota" in session.run(more).text or "may add" in session.run(more).text
        session.rollback()
        ran(session, fill)


def test_a_client_learns_what_it_can_commit(world):
    policy = next(one for one in world.cage.policies() if one.name == "books")
    assert [mount.path for mount in policy.mounts if mount.transaction] == ["/ledger"]
    with world.cage.session() as session:
        with pytest.raises(agent_client.InvalidRequest, match="no mount with `access: transaction"):
            session.commit()
        with pytest.raises(agent_client.CodecageError):
            session.rollback("/work")
        seen = session.run("import codecage\ncodecage.commit('/work')")
        assert seen.error is not None


def cut_off(ledger, state, step):
    """
    A commit below `ledger` whose process is killed just before a step.
    """
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.executor.transactions.layered import View\n"
        "def watch(step):\n"
        "    if step == sys.argv[3]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "view = View(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "view.write('main.bean', b'new')\n"
        "view.remove('old.txt')\n"
        "view.commit(watch)\n"
    )
    path = os.pathsep.join(map(str, (ROOT, ROOT / "proto")))
    command = [sys.executable, "-c", program, str(ledger), str(state), step]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


@contextlib.contextmanager
def half_committed(step="modified main.bean"):
    """
    A directory with a ledger in which a commit stands halfway, and a policy for it.
    """
    with private_directory() as where:
        ledger, policies = where / "ledger", where / "policies"
        for made in (ledger, policies):
            made.mkdir()
        (ledger / "main.bean").write_text("old")
        (ledger / "old.txt").write_text("old")
        (policies / "books.yaml").write_text(POLICY.format(ledger=ledger, by="guest"))
        cut_off(ledger, where / "state", step)
        assert sorted(path.name for path in ledger.iterdir()) == [".codecage-commit", "main.bean"]
        if ACCOUNT:
            for path in (where, ledger, *ledger.rglob("*")):
                shutil.chown(path, ACCOUNT)
        yield ledger, policies


def test_a_server_completes_what_was_cut_off_before_it_serves():
    with (
        half_committed() as (ledger, policies),
        agent_client.connect(policies=str(policies), run_as=ACCOUNT) as cage,
    ):
        assert {path.name: path.read_text() for path in ledger.iterdir()} == {"main.bean": "new"}
        with cage.session("books") as session:
            assert ran(session, "print(open('/ledger/main.bean').read())") == "new"


def test_a_server_does_not_start_on_what_it_cannot_bring_to_an_end():
    with half_committed() as (ledger, policies), private_directory() as directory:
        (ledger / ".codecage-commit").chmod(0o755)
        said = refusal(directory, *RUN_AS, "--policies", str(policies))
        assert "that nobody else may look into" in said
        assert (ledger / "main.bean").read_text() == "old"


def test_the_asynchronous_client_commits_as_well(world):
    async def work():
        async with (
            agent_client.connect_async(world.cage.address) as cage,
            await cage.session("books") as session,
        ):
            await session.run("open('/ledger/new', 'w').close()")
            preview = await session.commit(dry_run=True)
            await session.rollback()
            await session.run("open('/ledger/other', 'w').close()")
            return preview, await session.commit()

    preview, report = asyncio.run(work())
    assert [one.path for one in preview.changes] == ["new"]
    assert [one.path for one in report.changes] == ["other"]
    assert report.committed
