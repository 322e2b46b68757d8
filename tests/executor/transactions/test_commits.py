"""
A layer shows what its session has done, and a commit makes it the host's, whole or not at all.
"""

import errno
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.kernel.descriptors import open_root
from executor.kernel.errors import GuestError
from executor.kernel.limits import Quota
from executor.linux.capset import keep_only
from executor.transactions import commits, layer
from executor.transactions.changes import ChangeKind
from executor.transactions.commits import Commit, Outcome, preview
from executor.transactions.copying import copy
from executor.transactions.errors import Conflict
from executor.transactions.places import STAGING, opened
from policy.types import Access, FileGrant, Rule
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


@pytest.fixture
def base(tmp_path):
    place = tmp_path / "base"
    make(place, BOOKS)
    return place


@pytest.fixture
def view(base, tmp_path):
    with View(base, tmp_path / "state") as made:
        yield made


def test_the_host_sees_nothing_before_the_commit_and_all_of_it_after(view, base):
    before = tree_of(base)
    rework(view)
    assert tree_of(base) == before
    assert view.tree() == AFTER
    view.commit()
    assert tree_of(base) == AFTER
    assert view.tree() == AFTER
    assert preview(view.layer).changes == ()


def test_the_list_names_every_change_in_the_order_in_which_it_can_be_done(view):
    rework(view)
    report = preview(view.layer)
    assert [(one.kind.value, one.path) for one in report.changes] == [
        ("deleted", "2026/feb"),
        ("deleted", "2026/jan"),
        ("deleted", "2026"),
        ("deleted", "old"),
        ("modified", "main"),
        ("added", "2027"),
        ("added", "moved"),
        ("added", "2027/jan"),
    ]
    modified = report.changes[4]
    assert modified.diff == "--- a/main\n+++ b/main\n@@ -1 +1,2 @@\n 1 a\n+2 b\n"
    assert report.outcome is Outcome.PREVIEW
    assert len(report.digest) == 64


def test_a_dry_run_touches_neither_the_host_nor_the_changes(view, base):
    before = tree_of(base)
    rework(view)
    assert preview(view.layer) == preview(view.layer)
    assert tree_of(base) == before
    assert view.tree() == AFTER


def test_rolling_back_shows_the_host_again_and_commits_nothing(view, base):
    before = tree_of(base)
    rework(view)
    view.layer.drop()
    assert view.tree() == before
    assert view.commit().changes == ()
    assert tree_of(base) == before


def test_a_file_written_with_what_it_held_is_no_change(view):
    view.write("main", BOOKS["main"])
    assert preview(view.layer).outcome is Outcome.UNCHANGED


def test_a_file_that_becomes_a_directory_and_back_is_told_as_it_is(view, base):
    view.remove("main")
    view.mkdir("main")
    view.write("main/part", b"p")
    kinds = [(one.kind, one.path, one.directory) for one in preview(view.layer).changes]
    assert kinds == [
        (ChangeKind.DELETED, "main", False),
        (ChangeKind.ADDED, "main", True),
        (ChangeKind.ADDED, "main/part", False),
    ]
    view.commit()
    assert (base / "main/part").read_bytes() == b"p"


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_keeps_its_rights_and_a_new_one_has_the_usual(view, base, mask):
    (base / "main").chmod(0o640)
    view.write("main", b"other")
    view.write("new", b"new")
    before = os.umask(mask)
    try:
        view.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((base / "main").stat().st_mode) == 0o640
    assert stat.S_IMODE((base / "new").stat().st_mode) == 0o644 & ~mask


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")
def test_a_file_stays_its_owners_and_a_new_one_is_the_servers(view, base):
    os.chown(base / "main", 1, 2)
    view.write("main", b"other")
    view.write("new", b"new")
    view.commit()
    assert [(base / name).stat().st_uid for name in ("main", "new")] == [1, os.geteuid()]
    assert (base / "main").stat().st_gid == 2


def test_a_file_that_may_not_be_written_on_the_host_is_not_replaced_by_one_that_may(base, tmp_path):
    (base / "main").chmod(0o444)

    def without_roots_rights():
        keep_only()
        with View(base, tmp_path / "state") as view:
            with pytest.raises(GuestError, match="may not be written on the host"):
                view.write("main", b"other")
            view.write("old", b"other")

    assert not in_child(without_roots_rights)


def test_a_file_that_is_replaced_while_it_is_copied_is_not_built_on(base, tmp_path):
    quota = quota_of(base)
    with View(base, tmp_path / "state", quota) as view:
        with view.at("main") as held:
            (base / "quicker").write_bytes(b"quicker\n")
            (base / "quicker").rename(base / "main")
            with pytest.raises(GuestError) as caught:
                held.to_change()
        assert caught.value.errno == errno.EBUSY
        assert (quota.bytes_left, quota.files_left) == (8, 3)
        assert view.read("main") == b"quicker\n"


def test_no_more_of_a_file_that_grows_is_copied_than_was_paid_for(base):
    with (
        open_root(str(base)) as root,
        opened(root, "main", os.O_RDONLY) as source,
        opened(root, "copy", os.O_WRONLY | os.O_CREAT, 0o600) as target,
    ):
        copy(source, target, 2)
    assert (base / "copy").read_bytes() == BOOKS["main"][:2]


def test_what_is_put_in_place_is_what_the_list_says(view, base):
    view.write("new", b"listed\n")

    def meddle(step):
        if step == "stage new":
            view.write("new", b"another\n")

    with pytest.raises(Conflict) as caught:
        view.commit(meddle)
    assert caught.value.paths == ("new",)
    assert tree_of(base) == BEFORE


def test_what_was_read_is_kept_in_mind_up_to_a_number_of_files(view, monkeypatch):
    monkeypatch.setattr(layer, "MOST_READ", 1)
    view.read("main")
    view.read("main")
    with pytest.raises(GuestError) as caught:
        view.read("old")
    assert caught.value.errno == errno.EDQUOT
    view.layer.drop()
    view.read("old")


def test_a_commit_of_more_paths_than_one_takes_is_refused_whole(view, base, monkeypatch):
    monkeypatch.setattr(commits, "MOST_CHANGES", 2)
    for name in ("a", "b", "c"):
        view.write(name, b"x")
    with pytest.raises(GuestError) as caught:
        view.commit()
    assert caught.value.errno == errno.E2BIG
    assert tree_of(base) == BEFORE
    view.remove("c")
    view.commit()
    assert tree_of(base) == {**BEFORE, "a": b"x", "b": b"x"}


def test_so_many_files_of_a_list_have_a_diff(view, monkeypatch):
    monkeypatch.setattr(commits, "MOST_DIFFED", 1)
    view.write("a", b"x\n")
    view.write("b", b"x\n")
    assert [one.diff for one in preview(view.layer).changes] == [
        "--- a/a\n+++ b/a\n@@ -0,0 +1 @@\n+x\n",
        "",
    ]


CONFLICTS = {
    "a file that is changed was changed": lambda base: (base / "main").write_bytes(b"other\n"),
    "a file that is changed was removed": lambda base: (base / "main").unlink(),
    "a file that is deleted was changed": lambda base: (base / "old").write_bytes(b"other\n"),
    "a file that is added is there": lambda base: (base / "moved").write_bytes(b"mine\n"),
    "a directory that is added is there": lambda base: (base / "2027").mkdir(),
    "a file that is deleted became a link": lambda base: relink(base / "old"),
    "only its rights were changed": lambda base: told(base / "main", lambda one: one.chmod(0o600)),
    "it was written with the same content": lambda base: told(
        base / "main", lambda one: one.write_bytes(b"1 a\n")
    ),
}


def relink(path):
    path.unlink()
    path.symlink_to("main")


def told(path, act):
    """
    Do it until the file's change time tells of it: it alone does here, and before Linux 6.13 the
    clock of a file system goes in steps of up to ten milliseconds.
    """
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        act(path)


@pytest.mark.parametrize("meanwhile", CONFLICTS.values(), ids=CONFLICTS)
def test_a_base_that_changed_meanwhile_is_a_conflict_and_nothing_is_written(view, base, meanwhile):
    rework(view)
    meanwhile(base)
    found = tree_of(base)
    with pytest.raises(Conflict):
        view.commit()
    assert tree_of(base) == found
    assert view.tree() != found


def test_a_file_that_was_only_read_and_then_changed_is_a_conflict(view, base):
    assert view.read("2026/jan") == b"x\n"
    view.write("main", b"built on january\n")
    (base / "2026/jan").write_bytes(b"X\n")
    with pytest.raises(Conflict) as caught:
        view.commit()
    assert caught.value.paths == ("2026/jan",)
    assert (base / "main").read_bytes() == BOOKS["main"]


def test_a_file_that_was_not_looked_at_may_change_meanwhile(view, base):
    view.write("main", b"m\n")
    (base / "2026/jan").write_bytes(b"X\n")
    view.commit()
    assert (base / "main").read_bytes() == b"m\n"


def test_a_change_in_the_last_moment_is_found_and_everything_taken_back(view, base):
    """
    The check before the commit was passed; another program writes between it and the exchange.
    """
    rework(view)

    def meddle(step):
        if step == "added 2027/jan":
            (base / "2027/jan").write_bytes(b"quicker\n")

    with pytest.raises(Conflict) as caught:
        view.commit(meddle)
    assert "2027/jan" in caught.value.paths
    found = tree_of(base)
    assert found.pop("2027/jan") == b"quicker\n"
    assert found.pop("2027") is None
    assert found == BEFORE
    assert view.tree()["main"] == AFTER["main"]


def test_a_file_replaced_between_the_check_and_the_exchange_comes_back(view, base):
    view.write("main", b"mine\n")

    def meddle(step):
        if step == "modified main":
            (base / "main").write_bytes(b"quicker\n")

    with pytest.raises(Conflict):
        view.commit(meddle)
    assert (base / "main").read_bytes() == b"quicker\n"
    assert STAGING not in os.listdir(base)


def test_what_somebody_made_of_a_committed_file_is_not_taken_back(view, base):
    rework(view)

    def meddle(step):
        if step == "added 2027":
            (base / "main").write_bytes(b"later\n")
        if step == "added 2027/jan":
            (base / "moved").write_bytes(b"later as well\n")
            (base / "2027/jan").write_bytes(b"quicker\n")

    with pytest.raises(Conflict) as caught:
        view.commit(meddle)
    assert {"main", "moved", "2027/jan"} <= {*caught.value.paths}
    found = tree_of(base)
    assert (found["main"], found["moved"]) == (b"later\n", b"later as well\n")
    assert found["old"] == BOOKS["old"]


def test_two_sessions_and_the_second_commit_is_refused_until_it_starts_anew(base, tmp_path):
    with View(base, tmp_path / "one") as one, View(base, tmp_path / "two") as two:
        one.write("main", one.read("main") + b"from one\n")
        two.write("main", two.read("main") + b"from two\n")
        two.commit()
        with pytest.raises(Conflict):
            one.commit()
        one.layer.drop()
        one.write("main", one.read("main") + b"from one\n")
        one.commit()
    assert (base / "main").read_bytes() == b"1 a\nfrom two\nfrom one\n"


def test_the_staging_directory_is_seen_by_no_session(view, base):
    (base / STAGING).mkdir()
    assert STAGING not in view.list()
    with pytest.raises(FileNotFoundError):
        view.read(STAGING)


def test_commits_of_two_servers_wait_for_each_other(base, tmp_path):
    with View(base, tmp_path / "one") as one, View(base, tmp_path / "two") as two:
        one.write("main", b"one\n")
        two.write("2026/jan", b"two\n")
        first = Commit(one.layer)
        first.prepare()
        with pytest.raises(GuestError) as caught:
            two.commit()
        assert caught.value.errno == errno.EBUSY
        first.apply()
        two.commit()
    assert (base / "main").read_bytes() == b"one\n"
    assert (base / "2026/jan").read_bytes() == b"two\n"


def test_an_abandoned_commit_leaves_the_host_and_the_changes_as_they_were(view, base):
    before = tree_of(base)
    rework(view)
    commit = Commit(view.layer)
    commit.prepare()
    commit.abandon()
    assert tree_of(base) == before
    assert view.tree() == AFTER


@pytest.mark.parametrize("make_special", [os.mkfifo, lambda p: os.symlink("main", p)])
def test_what_is_no_regular_file_is_not_removed(view, base, make_special):
    make_special(base / "special")
    with pytest.raises(GuestError) as caught:
        view.remove("special")
    assert caught.value.errno == errno.EPERM
    view.remove("old")


def test_a_file_with_attributes_is_not_replaced_by_one_without(view, base):
    try:
        os.setxattr(base / "main", "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    with pytest.raises(GuestError) as caught:
        view.write("main", b"other")
    assert caught.value.errno == errno.EACCES
    view.write("old", b"other")


def test_a_directory_with_something_left_in_it_is_not_removed(view):
    view.remove("2026/jan")
    with pytest.raises(OSError, match="not empty"):
        view.rmdir("2026")


def test_a_directory_does_not_move(view):
    with pytest.raises(OSError, match="cross-device"):
        view.rename("2026", "2028")


def quota_of(base):
    rule = Rule("filesystem[0]", "")
    return Quota(FileGrant("/ledger", str(base), Access.TRANSACTION, (), 8, 3, rule))


def test_the_budget_bounds_copies_and_comes_back_with_a_rollback(base, tmp_path):
    quota = quota_of(base)
    with View(base, tmp_path / "state", quota) as view:
        view.write("main", b"")
        assert (quota.bytes_left, quota.files_left) == (4, 2)
        with pytest.raises(GuestError) as caught:
            view.write("old", b"")
        assert caught.value.errno == errno.EDQUOT
        view.remove("old")
        assert quota.files_left == 1
        view.layer.drop()
        assert (quota.bytes_left, quota.files_left) == (8, 3)
        view.write("main", b"")
        view.commit()
        view.layer.drop()
        assert (quota.bytes_left, quota.files_left) == (4, 2)


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=3)),
        st.tuples(st.just("mkdir"), NAMES),
        st.tuples(st.just("rmdir"), NAMES),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("read"), NAMES),
    ),
    max_size=12,
)
START = {"a": b"A", "d": None, "d/a": b"DA", "d/e": None}


class Plain:
    """
    The same acts on a plain directory: what a transaction has to look like.
    """

    def __init__(self, place):
        self.place = place

    def write(self, path, data):
        (self.place / path).write_bytes(data)

    def mkdir(self, path):
        (self.place / path).mkdir()

    def rmdir(self, path):
        (self.place / path).rmdir()

    def remove(self, path):
        (self.place / path).unlink()

    def read(self, path):
        return (self.place / path).read_bytes()

    def rename(self, old, new):
        if (self.place / old).is_dir() or (self.place / new).is_dir():
            raise OSError(errno.EXDEV, "directories stay")
        (self.place / old).rename(self.place / new)


def outcome(world, act):
    name, *arguments = act
    try:
        return getattr(world, name)(*arguments)
    except (OSError, GuestError):
        return "refused"


@settings(max_examples=150, deadline=None)
@given(acts=ACTS)
def test_a_transaction_looks_like_a_plain_directory_and_commits_to_the_same(tmp_path_factory, acts):
    where = tmp_path_factory.mktemp("model")
    for name in ("base", "plain"):
        make(where / name, START)
    plain = Plain(where / "plain")
    with View(where / "base", where / "state") as view:
        for act in acts:
            assert outcome(view, act) == outcome(plain, act), act
            assert view.tree() == tree_of(where / "plain"), act
        assert tree_of(where / "base") == START
        view.commit()
        assert view.tree() == tree_of(where / "base") == tree_of(where / "plain")
