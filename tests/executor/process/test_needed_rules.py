"""
No rule of Landlock gives a box what nothing needs: each right of each rule is taken away here, and
something that a box may do fails; or it is said what gives the same.

Green does not prove that a guest needs no further right, only that none is there for free.
"""

import errno

import pytest
from box_needs import NEEDS, OWN
from test_attacks_wide import EVERYTHING, FUSE, IS_ROOT, TESTER
from wide_range import WideRange

PLAN = EVERYTHING | {"programs": ["/usr/bin/true"], "directory": "/work"}
PLAN |= {"served": ["/data/served"]} if FUSE else {}
BARE = {"minimum": "P2"}
DEVICES = ("null", "zero", "full", "random", "urandom")
LABELS = {
    "/": "root",
    "/etc": "etc",
    "/usr": "view",
    "/work": "work",
    "/home/agent": "home",
    "/tmp": "temporary",
    "/dev/shm": "shared",
    "/data/served": "served",
    **{f"/dev/{name}": name for name in DEVICES},
}
# What another rule gives as well, in boxes with namespaces; without, the same right is needed.
BELOW_ROOT = {f"need_{label}_READ_DIR" for label in ("etc", "view", "served", *OWN)}
# Rights of a set that is given whole.
IN_A_SET = {
    # What may be executed is shown, and read by that rule.
    *("need_program_READ_FILE", "need_program_READ_DIR"),
    # No device is ever truncated: the kernel takes it for nothing where a file is opened.
    *("need_null_TRUNCATE", "need_zero_TRUNCATE", "need_full_TRUNCATE"),
}


def rules_of(started, plan):
    found = {}
    for path, rights in started.ask(rules=True, plan=plan)["rules"]:
        found[path] = {*found.get(path, ()), *rights}
    return found


def label_of(path):
    return LABELS.get(path, "program")


def needs_of(rules):
    return {f"need_{label_of(path)}_{right}" for path, rights in rules.items() for right in rights}


@pytest.fixture(scope="module")
def boxes():
    started = WideRange()
    yield started
    started.close()


@pytest.fixture(scope="module")
def bare_boxes():
    started = WideRange(user=TESTER if IS_ROOT else None)
    started.ask(refuse=["unshare", errno.EPERM])
    started.ask(refuse=["clone3", errno.ENOSYS])
    yield started
    started.close()


def test_every_right_of_every_rule_is_needed_or_given_by_another(boxes, bare_boxes):
    rules = rules_of(boxes, PLAN)
    served = {f"need_served_{right}" for right in rules.get("/data/served", ())}
    # The same as any place of the guest's own, of which each right is needed.
    assert rules.get("/data/served", rules["/work"]) == rules["/work"]
    free = needs_of(rules) - set(NEEDS) - BELOW_ROOT - IN_A_SET - served
    assert free == set()
    assert needs_of(rules) >= set(NEEDS) - served - ({"need_served_READ_FILE"} - served) - {
        f"need_{name}_WRITE_FILE" for name in ("random", "urandom")
    }
    # Without namespaces there are less rules, and all for the same.
    assert {right for rights in rules_of(bare_boxes, BARE).values() for right in rights} <= {
        right for rights in rules.values() for right in rights
    }


def told_apart():
    """
    Each need that a rule of its own meets, with the path of that rule.
    """
    paths = {label: path for path, label in LABELS.items()}
    for name in sorted(set(NEEDS) - BELOW_ROOT):
        _, label, right = name.split("_", 2)
        if label in {"random", "urandom"} and right == "WRITE_FILE":
            continue
        if label == "served" and not FUSE:
            continue
        yield name, paths.get(label, "/usr/*"), right


@pytest.mark.parametrize(("name", "path", "right"), [*told_apart()])
def test_without_a_right_of_a_rule_something_fails(name, path, right, boxes, host):
    if name.startswith("need_served") and not IS_ROOT:
        pytest.skip("only root serves here")
    assert boxes.run(name, host, boxed=True, plan=PLAN).said == "done"
    less = boxes.run(name, host, boxed=True, plan=PLAN, paths=[path], right=right)
    assert less.said in {"EACCES", "EXDEV"} or is_ended_for_null(path, less), less


def is_ended_for_null(path, less):
    """
    Whether it was about /dev/null, which the first process of a box opens, and ends if it cannot.

    Others see that while the box is made, or it ends before the need is asked for.
    """
    ended = less.said.startswith("MechanismFailed") or (less.said, less.code) == ("nothing", 1)
    return label_of(path) == "null" and ended


@pytest.mark.parametrize("name", sorted(BELOW_ROOT & set(NEEDS) - {"need_shared_READ_DIR"}))
def test_without_namespaces_directories_are_listed_by_their_own_rules(name, bare_boxes, host):
    _, label, right = name.split("_", 2)
    paths = ["/usr"] if label == "view" else ["/tmp/codecage-box-*"]
    assert bare_boxes.run(name, host, boxed=True, plan=BARE).said == "done"
    less = bare_boxes.run(name, host, boxed=True, plan=BARE, paths=paths, right=right)
    assert less.said == "EACCES"


@pytest.mark.parametrize("name", ["need_random_WRITE_FILE", "need_urandom_WRITE_FILE"])
def test_what_no_rule_gives_is_refused(name, boxes, host):
    assert boxes.run(name, host, boxed=True, plan=PLAN).said == "EACCES"
