"""
A commit that is killed at any step is completed or undone by whoever comes next: never half.

Each case is a process of its own that kills itself with SIGKILL just before one effect on the file
system; so does the one that recovers, at each of its own steps, before a third one ends it.
"""

import errno
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.kernel.descriptors import open_root
from executor.transactions.errors import Conflict, Unrecoverable
from executor.transactions.journal import JOURNAL
from executor.transactions.places import STAGING
from executor.transactions.staging import Recovered, alone, recover
from tests.executor.transactions.layered import (
    AFTER,
    BEFORE,
    BOOKS,
    View,
    in_child,
    make,
    rework,
    tree_of,
)


class KillAt:
    """
    Kills its process before step number `at`; `meddle` is called before each step.
    """

    def __init__(self, at, meddle=lambda _: None):
        self.at = at
        self.meddle = meddle
        self.seen = 0

    def __call__(self, step):
        self.meddle(step)
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen += 1


def commit_in_child(base: Path, state: Path, watch, changes=rework):
    def act():
        with View(base, state) as view:
            changes(view)
            try:
                view.commit(watch)
            except Conflict:
                return

    return in_child(act)


def recover_in_child(base: Path, watch):
    def act():
        with open_root(str(base)) as root, alone(root):
            recover(root, watch)

    return in_child(act)


def recovered(base: Path) -> Recovered:
    with open_root(str(base)) as root, alone(root):
        found = recover(root)
        assert recover(root) is Recovered.NOTHING
    assert STAGING not in os.listdir(base)
    return found


def test_a_commit_killed_at_every_step_ends_as_before_or_after(tmp_path):
    ends = []
    for at in range(200):
        base = tmp_path / f"base{at}"
        make(base, BOOKS)
        killed = commit_in_child(base, tmp_path / f"state{at}", KillAt(at))
        found = recovered(base)
        tree = tree_of(base)
        assert tree in (BEFORE, AFTER), at
        ends.append((found, tree == AFTER))
        if not killed:
            break
    kinds = {found for found, _ in ends}
    assert kinds == {Recovered.NOTHING, Recovered.DROPPED, Recovered.COMPLETED}
    assert len(ends) > 25
    # Once the journal stands, the commit is done; before, nothing is.
    assert [done for _, done in ends] == sorted(done for _, done in ends)
    assert ends[-1] == (Recovered.NOTHING, True)


def test_a_commit_that_meets_a_conflict_late_is_undone_also_when_killed(tmp_path):
    ends = []
    for at in range(300):
        base = tmp_path / f"base{at}"
        make(base, BOOKS)

        def meddle(step, base=base):
            if step == "added moved":
                (base / "moved").write_bytes(b"quicker\n")

        killed = commit_in_child(base, tmp_path / f"state{at}", KillAt(at, meddle))
        ends.append(recovered(base))
        tree = tree_of(base)
        tree.pop("moved", None) if tree.get("moved") == b"quicker\n" else None
        assert tree in (BEFORE, AFTER), at
        if not killed:
            break
    assert Recovered.UNDONE in ends
    assert tree == BEFORE


def killed_in_the_middle(tmp_path, name):
    base = tmp_path / name
    make(base, BOOKS)

    def stop(step):
        if step == "added 2027":
            os.kill(os.getpid(), signal.SIGKILL)

    assert commit_in_child(base, tmp_path / f"{name}-state", stop)
    assert tree_of(base) not in (BEFORE, AFTER)
    return base


def test_a_recovery_killed_at_every_step_is_completed_by_the_next(tmp_path):
    for at in range(100):
        base = killed_in_the_middle(tmp_path, f"base{at}")
        killed = recover_in_child(base, KillAt(at))
        recovered(base)
        assert tree_of(base) == AFTER, at
        if not killed:
            return
    pytest.fail("the recovery never came to its end")


def told_to(place):
    def tell(step):
        with place.open("a") as file:
            file.write(f"{step}\n")

    return tell


def test_a_recovery_that_has_to_undo_is_undone_also_when_killed(tmp_path):
    for at in range(100):
        base = killed_in_the_middle(tmp_path, f"base{at}")
        (base / "moved").write_bytes(b"quicker\n")
        steps = tmp_path / f"steps{at}"
        killed = recover_in_child(base, KillAt(at, told_to(steps)))
        # Somebody who makes room again does not turn an undoing into a completion.
        undoing = "take back" in steps.read_text()
        (base / "moved").unlink(missing_ok=True)
        recovered(base)
        assert tree_of(base) == BEFORE or not undoing, at
        assert tree_of(base) in (BEFORE, AFTER), at
        if not killed:
            return
    pytest.fail("the recovery never came to its end")


def test_the_next_commit_brings_the_one_that_was_cut_off_to_its_end_first(tmp_path):
    base = killed_in_the_middle(tmp_path, "base")
    with View(base, tmp_path / "state") as view:
        view.write("next", b"n\n")
        view.commit()
    assert tree_of(base) == {**AFTER, "next": b"n\n"}


def refuse_at(refused, meddle=lambda _: None):
    def watch(step):
        meddle(step)
        if step.startswith(refused):
            raise OSError(errno.EIO, f"the host refuses: {step}")

    return watch


def test_an_undoing_that_the_host_refuses_is_left_to_the_next(tmp_path):
    base = tmp_path / "base"
    make(base, BOOKS)

    def meddle(step):
        if step == "added moved":
            (base / "moved").write_bytes(b"quicker\n")

    with View(base, tmp_path / "state") as view:
        rework(view)
        with pytest.raises(OSError, match="the host refuses: take back"):
            view.commit(refuse_at("take back", meddle))
    assert tree_of(base) not in (BEFORE, {**BEFORE, "moved": b"quicker\n"})
    assert recovered(base) is Recovered.UNDONE
    assert tree_of(base) == {**BEFORE, "moved": b"quicker\n"}


def test_a_recovery_that_the_host_refuses_takes_everything_back(tmp_path):
    base = killed_in_the_middle(tmp_path, "base")
    with open_root(str(base)) as root, alone(root):
        assert recover(root, refuse_at("added moved")) is Recovered.UNDONE
    assert tree_of(base) == BEFORE


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")


def respell(staging, old, new):
    journal = staging / JOURNAL
    spelt = journal.read_text()
    assert old in spelt
    journal.write_text(spelt.replace(old, new))


@pytest.mark.parametrize(
    ("what", "spoil"),
    [
        ("no journal of ours", lambda staging: (staging / JOURNAL).write_text("{}")),
        ("no JSON", lambda staging: (staging / JOURNAL).write_text("{")),
        ("others may look", lambda staging: staging.chmod(0o755)),
        ("directories have no digest", lambda staging: respell(staging, "false", "true")),
        ("entries have digests", lambda staging: respell(staging, '"after": "', '"after": "0')),
        pytest.param("another's", lambda staging: os.chown(staging, 1, 1), marks=AS_ROOT),
    ],
)
def test_what_no_server_of_ours_has_left_is_not_believed(tmp_path, what, spoil):
    base = killed_in_the_middle(tmp_path, "base")
    spoil(base / STAGING)
    found = tree_of(base)
    with open_root(str(base)) as root, alone(root), pytest.raises(Unrecoverable):
        recover(root)
    assert tree_of(base) == found, what


def test_a_path_that_leads_out_of_the_source_is_not_believed(tmp_path):
    """
    The attack: somebody who may write into the source's journal aims it at a file elsewhere.
    """
    base = killed_in_the_middle(tmp_path, "base")
    victim = tmp_path / "victim"
    victim.write_bytes(b"v")
    respell(base / STAGING, '"main"', '"../victim"')
    with open_root(str(base)) as root, alone(root), pytest.raises(Unrecoverable):
        recover(root)
    assert victim.read_bytes() == b"v"


TREES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d/a", "d/b", "e/f/a"]), st.binary(max_size=4), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(start=TREES, end=TREES, at=st.integers(0, 40))
def test_any_change_killed_anywhere_is_whole_or_nothing(tmp_path_factory, start, end, at):
    where = tmp_path_factory.mktemp("crash")
    base = where / "base"
    base.mkdir()
    make(base, start)
    before = tree_of(base)
    target = where / "target"
    target.mkdir()
    make(target, end)
    after = tree_of(target)

    def changes(view):
        for path in sorted(set(before) - set(after), reverse=True):
            (view.rmdir if before[path] is None else view.remove)(path)
        for path in sorted(after):
            if after[path] is not None:
                view.write(path, after[path])
            elif path not in before:
                view.mkdir(path)

    commit_in_child(base, where / "state", KillAt(at), changes)
    recovered(base)
    assert tree_of(base) in (before, after)
