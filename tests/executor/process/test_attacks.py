"""
Every attack of the families, without a box where that is safe, and in one.

Green does not prove that the kernel has no bug behind the calls that are allowed: the box
shares it. What a family assumes instead of seeing is marked at its row.
"""

from pathlib import Path

import attack_fs
import attack_md
import attack_net
import attack_pr
import attack_res
import attack_sys
import pytest
from attacks import Control

FAMILIES = (attack_fs, attack_md, attack_pr, attack_sys, attack_net, attack_res)
ALL = {name: attack for family in FAMILIES for name, attack in family.ATTACKS.items()}
SEEN = sorted(name for name, attack in ALL.items() if attack.control is Control.REACHES)


def test_no_two_families_have_an_attack_of_one_name():
    assert len(ALL) == sum(len(family.ATTACKS) for family in FAMILIES)
    assert len(SEEN) > 100


@pytest.mark.parametrize("name", SEEN)
def test_without_a_box_the_attack_reaches_its_target(name, as_root, host):
    outcome = as_root.run(name, host, boxed=False)
    assert outcome.reached, f"{name} proves nothing: {outcome.said}"


@pytest.mark.parametrize("name", sorted(ALL))
def test_in_a_box_of_root_the_attack_is_blocked(name, as_root, host):
    attack = ALL[name]
    outcome = as_root.run(name, host, boxed=True, plan=attack.plan)
    assert outcome.said in attack.answers
    assert outcome.level == "P4"
    assert Path(host.canary).read_text() == "tweet"


@pytest.mark.parametrize("name", sorted(ALL))
def test_in_a_box_of_a_user_without_rights_the_attack_is_blocked(name, unprivileged, host):
    attack = ALL[name]
    outcome = unprivileged.run(name, host, boxed=True, plan=attack.plan)
    assert outcome.said in attack.answers
    assert outcome.level == "P3"
    assert Path(host.canary).read_text() == "tweet"
