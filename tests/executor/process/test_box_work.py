"""
Ordinary work in a box, and without one: what the filter, Landlock and the mounts must not break.
"""

import os
import re
import sys

import pytest
from box_work import WORK

IN_A_BOX = sorted(set(WORK) - {"callback"})


@pytest.fixture(scope="module")
def shown():
    """
    The programs of the host and the library of the Python that root's range runs on.
    """
    views = [["/usr", "/usr"]]
    if not sys.base_prefix.startswith("/usr"):
        views.append([sys.base_prefix, sys.base_prefix])
    return views


@pytest.mark.parametrize("name", sorted(WORK))
def test_work_is_done_without_a_box(name, as_root, host):
    assert as_root.run(name, host, boxed=False).said == "done"


@pytest.mark.parametrize("name", IN_A_BOX)
def test_work_is_done_in_a_box_of_root(name, as_root, host, shown):
    outcome = as_root.run(name, host, boxed=True, plan={"mounts": shown})
    assert (outcome.said, outcome.level) == ("done", "P4")


@pytest.mark.parametrize("name", IN_A_BOX)
def test_work_is_done_in_a_box_of_a_user_without_rights(name, unprivileged, host):
    outcome = unprivileged.run(name, host, boxed=True)
    assert (outcome.said, outcome.level) == ("done", "P3")


@pytest.mark.parametrize(("new_code", "said"), [("REFUSED", "MemoryError"), ("ALLOWED", "done")])
def test_c_calls_python_only_where_new_code_is_allowed(new_code, said, as_root, unprivileged, host):
    for started in (as_root, unprivileged):
        plan = {"new_code": new_code}
        assert started.run("callback", host, boxed=True, plan=plan).said == said


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("ask_for_what_is_allowed", r"asked 1\d\d, refused \[\]"),
        ("ask_for_what_is_refused", r"asked 2\d\d, passed \[\]"),
        ("ask_with_arguments_that_do_not_fit", r"asked 2\d, passed \[\]"),
    ],
)
def test_every_row_of_the_filter_is_seen_at_work(act, said, as_root, unprivileged, host):
    for started in (as_root, unprivileged):
        outcome = started.run(act, host, boxed=True)
        assert re.fullmatch(said, outcome.said), outcome.said


@pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root here")
def test_what_is_written_to_memory_files_counts_as_memory(as_root, host):
    plan = {"scratch": [["/work", 200 << 20, 500]], "memory": 24 << 20}
    assert as_root.run("fs_disk_fill", host, boxed=True, plan=plan).said == "SIGKILL"
    roomy = plan | {"memory": 256 << 20}
    assert as_root.run("fs_disk_fill", host, boxed=True, plan=roomy).reached
