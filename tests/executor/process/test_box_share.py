"""
The share of the processors that a box has: what it computes at most, and what is told of it.

What green does not prove: that a neighbour gets its share, which the host's scheduler gives.
"""

import pytest
from box_spin import is_shared

from executor.linux import cgroups
from executor.process import isolation
from executor.process.isolation import Hold, Part
from executor.process.plan import BoxPlan, Level


def most(percent):
    """
    What a second's measurement may come to: a group has its share anew each tenth of a second, so
    it may hold one share more than ten; a thread is stopped by the next tick of its processor.
    """
    return percent / 100 * 1.35 + 0.05


needs_shares = pytest.mark.skipif(not is_shared(), reason="no controller cpu of ours on this host")


@needs_shares
@pytest.mark.parametrize("percent", [5, 10, 100])
def test_sixteen_threads_that_spin_have_the_share_of_their_box_p19(percent, as_root, host):
    outcome = as_root.run("spin", host, boxed=True, plan={"cpu_percent": percent})
    assert outcome.holds["cpus"] == "enforced"
    assert 0 < float(outcome.said) <= most(percent)


@needs_shares
def test_sixteen_threads_that_spin_have_more_without_a_share_p19(as_root, host):
    """
    Two tenths are what a busy machine leaves to so many threads in any case.
    """
    without = as_root.run("spin", host, boxed=False)
    assert float(without.said) > most(10)


@pytest.mark.parametrize("attack", ["pr_sched_fifo", "pr_nice_up"])
def test_no_thread_of_a_box_has_another_priority_p19(attack, as_root, unprivileged, host):
    for started in (as_root, unprivileged):
        assert started.run(attack, host, boxed=True).said == "EPERM"


def test_a_box_without_control_group_says_that_nothing_shares_the_processors(unprivileged, host):
    outcome = unprivileged.run("leak_umask", host, boxed=True)
    assert (outcome.level, outcome.holds["cpus"]) == ("P3", "absent")


def finding(group):
    vector = isolation.found(BoxPlan(()), Level.P3, 4, group)
    return next(one for one in vector.findings if one.part is Part.CPUS)


def test_a_share_that_no_controller_keeps_is_told_as_absent(tmp_path):
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    unlimited = cgroups.Group((("cpu", tmp_path),), unified=False)
    assert [finding(one).hold for one in (None, unlimited)] == [Hold.ABSENT] * 2


@pytest.mark.parametrize(
    ("said", "hold"),
    [
        ("100000 100000", Hold.ENFORCED),
        ("20000 100000", Hold.ENFORCED),
        ("100001 100000", Hold.PARTIAL),
        ("150000 100000", Hold.PARTIAL),
        ("max 100000", Hold.ABSENT),
    ],
)
def test_a_share_is_told_as_the_kernel_says_it_now(said, hold, tmp_path):
    (tmp_path / "cpu.max").write_text(said + "\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 0\n")
    group = cgroups.Group((("cpu", tmp_path), ("unified", tmp_path)), unified=True)
    assert finding(group).hold is hold
