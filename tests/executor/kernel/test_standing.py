"""
What has happened in a session stays with it, and follows what it may write.
"""

import gc

import pytest

from executor.kernel.standing import Standing, Taints, reach_of
from policy.decide import compile_policy
from policy.requests import FileAction, FileRequest, NetworkRequest
from tests.executor.fakes.harness import policy

NET = NetworkRequest("a.example.com", 443)
READ = FileRequest(FileAction.READ, "/data/private/x")
AFTER = 'after: [{event: "read /data/private/**", revoke: [network]}]\n'


def standing(*mounts, after=AFTER):
    grants = "".join(f"  - {{mount: {mount}, source: {source}, access: {access}}}\n"
                     for mount, source, access in mounts)  # fmt: skip
    text = f"filesystem:\n{grants}network: [{{host: a.example.com}}]\n{after}"
    return Standing(compile_policy(policy(text)))


DATA = ("/data", "/srv/data", "read")


def joined(taints, *mounts, **more):
    made = standing(*mounts, **more)
    taints.join(made, reach_of(made.policy))
    return made


def test_a_right_is_gone_once_it_has_happened_and_never_comes_back():
    one = standing(DATA)
    assert one.decide(NET).allowed
    one.observe(FileRequest(FileAction.READ, "/data/public"))
    assert one.decide(NET).allowed
    one.observe(READ)
    assert (one.decide(NET).allowed, one.decide(NET).rule.name) == (False, "after[0]")
    assert one.decide(READ).allowed
    one.observe(READ)
    assert not one.decide(NET).allowed
    assert len(one.fired) == 1


def test_what_the_policy_denies_has_the_policys_own_reason():
    one = standing(DATA)
    one.observe(READ)
    assert one.decide(NetworkRequest("b.example.com", 443)).rule.name == "network"


def test_listeners_hear_of_it_once_and_before_it_returns():
    one, heard = standing(DATA), []
    one.listen(lambda ratchet: heard.append((ratchet.event_text, one.decide(NET).allowed)))
    one.observe(READ)
    one.observe(READ)
    assert heard == [("read /data/private/**", False)]


@pytest.mark.parametrize("begins", ["before", "after"])
def test_it_follows_the_mounts_that_the_session_may_write(begins):
    taints = Taints()
    writer = joined(taints, DATA, ("/out", "/srv/out", "read-write"))
    mounts = ("/data", "/srv/other", "read"), ("/in", "/srv/out/deep", "read")
    reader = joined(taints, *mounts) if begins == "before" else None
    writer.observe(READ)
    reader = reader or joined(taints, *mounts)
    assert not reader.decide(NET).allowed


def test_it_follows_what_lies_in_a_directory_that_another_reads():
    taints = Taints()
    reader = joined(taints, ("/data", "/srv/other", "read"), ("/in", "/srv/out", "read"))
    joined(taints, DATA, ("/out", "/srv/out/deep", "read-write")).observe(READ)
    assert not reader.decide(NET).allowed


def test_it_goes_on_to_what_the_next_may_write_and_no_further():
    taints = Taints()
    writer = joined(taints, DATA, ("/out", "/srv/out", "read-write"))
    second = joined(taints, ("/data", "/srv/out", "read"), ("/out", "/srv/next", "read-write"))
    third = joined(taints, ("/data", "/srv/next", "read"))
    apart = joined(taints, DATA, ("/out", "/srv/outside", "read-write"))
    other = 'after: [{event: "read /data/**", revoke: [network]}]\n'
    unlike = joined(taints, ("/data", "/srv/out", "read"), after=other)
    writer.observe(READ)
    allowed = [one.decide(NET).allowed for one in (writer, second, third, apart, unlike)]
    assert allowed == [False, False, False, True, True]


def test_what_is_only_read_is_not_tainted():
    taints = Taints()
    joined(taints, DATA).observe(READ)
    assert joined(taints, DATA).decide(NET).allowed


def test_links_to_one_directory_are_one_directory(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "alias").symlink_to("out")
    taints = Taints()
    joined(taints, DATA, ("/out", tmp_path / "alias", "read-write")).observe(READ)
    assert not joined(taints, ("/data", tmp_path / "out", "read")).decide(NET).allowed


def test_a_session_that_is_over_is_not_kept():
    taints = Taints()
    joined(taints, DATA)
    gc.collect()
    assert len(taints._reaches) == 0


def test_a_cell_does_without_what_it_says_and_the_next_has_it_again():
    one = standing(DATA)
    one.narrow(frozenset({"network"}))
    denied = one.decide(NET)
    assert (denied.allowed, denied.rule.name) == (False, "narrow")
    assert denied.reason == "the cell was run without network"
    assert one.decide(READ).allowed
    one.narrow(frozenset())
    assert one.decide(NET).allowed


def test_a_cell_gives_nothing_back_that_is_revoked():
    one = standing(DATA)
    one.observe(READ)
    one.narrow(frozenset({"network"}))
    assert one.decide(NET).rule.name == "after[0]"
    one.narrow(frozenset())
    assert one.decide(NET).rule.name == "after[0]"
