"""
The steps of the wasm worker's lock, zygote's and its own: each holds, or the lock ends with its
error.

Green does not prove that a step's effect is what it is said to be: `test_worker_jail` attacks it,
and `test_held_by_zygotes` looks at it from outside.
"""

import os
import signal

import pytest
from cage_range import NOBODY

from executor.linux import landlock
from executor.wasm import jail

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="the step does nothing for a normal user")

# For each step, a real condition under which it does not hold: the act before the lock, a call
# that the kernel is made to refuse (by a filter of the test's own), and the error's beginning.
FAILED = "MechanismFailed: "
MISSING = "MechanismMissing: "
BROKEN = {
    "one thread": ("thread_before_the_lock", {}, FAILED + "threads: tasks ["),
    "personality": ("readable_is_executable", {}, FAILED + "personality: READ_IMPLIES_EXEC"),
    "code": ("code_that_is_shared", {}, FAILED + "memory: code at ['0x"),
    "no new code": (
        "nothing",
        {"refuse": "prctl", "option": 65, "errno": "EPERM"},
        FAILED + "memory-deny-write-execute: answered EPERM",
    ),
    "signals": (
        "nothing",
        {"refuse": "rt_sigaction", "errno": "EPERM"},
        FAILED + "signals: resetting handlers",
    ),
    "working directory": ("nothing", {"refuse": "chdir", "errno": "EACCES"}, FAILED + "working"),
    "limits": ("nothing", {"refuse": "prlimit64", "errno": "EPERM"}, FAILED + "rlimits: "),
    "bounding set": (
        "nothing",
        {"refuse": "prctl", "option": 47, "errno": "EPERM"},
        FAILED + "capabilities: clearing",
    ),
    "user": ("nothing", {"refuse": "setresuid", "errno": "EPERM"}, FAILED + "identity: "),
    "capabilities": (
        "nothing",
        {"refuse": "capset", "errno": "EPERM"},
        FAILED + "capabilities: keeping 0x0",
    ),
    "not dumpable": (
        "nothing",
        {"refuse": "prctl", "option": 4, "errno": "EPERM"},
        FAILED + "dumpable: ",
    ),
    "no new privileges": (
        "nothing",
        {"refuse": "prctl", "option": 38, "errno": "EPERM"},
        FAILED + "no_new_privs: ",
    ),
    "oom score": ("nothing", {"without_a_score": True}, FAILED + "oom_score_adj: being 1000"),
    "session": ("nothing", {"refuse": "setsid", "errno": "EPERM"}, FAILED + "session: setsid"),
    "handlers": (
        "nothing",
        {"refuse": "rt_sigaction", "option": signal.SIGCHLD, "errno": "EPERM"},
        FAILED + "signals: resetting the zygote's",
    ),
    "parent": ("nothing", {"parent_off_by": 1}, FAILED + "parent-death signal: parent "),
    "landlock": (
        "nothing",
        {"refuse": "landlock_restrict_self", "errno": "E2BIG"},
        FAILED + "Landlock: restricting",
    ),
    "descriptors": (
        "nothing",
        {"refuse": "close_range", "errno": "ENOSYS"},
        MISSING + "close_range: ",
    ),
    "seccomp": ("nothing", {"refuse": "seccomp", "errno": "EINVAL"}, FAILED + "seccomp: loading"),
    # A kernel that says yes and does nothing.
    "canary": ("nothing", {"refuse": "seccomp"}, FAILED + "seccomp: getppid got an answer"),
}
OTHERWISE_BROKEN = [
    ("nothing", {"refuse": "mprotect", "errno": "EPERM"}, FAILED + "memory: sealing code"),
    ("keeps_a_closed_descriptor", {}, FAILED + "descriptors: keeping descriptor 999"),
    ("nothing", {"refuse": "prctl", "option": 1}, FAILED + "parent-death signal: set to 9, and it"),
    ("nothing", {"refuse": "setpgid", "data_growth": -1}, FAILED + "rlimits: data growth -1"),
    (
        "nothing",
        {"refuse": "landlock_create_ruleset", "errno": "ENOSYS"},
        MISSING + "Landlock: this kernel does not offer it and level W2 needs it",
    ),
    (
        "nothing",
        {"refuse": "landlock_create_ruleset", "errno": "EOPNOTSUPP"},
        MISSING + "Landlock: this kernel does not offer it and level W2 needs it",
    ),
]


def test_every_step_has_a_failure_of_its_own():
    steps = (*jail.HELD, *jail.OWN)
    assert list(BROKEN) == [step.name for step in steps]
    assert all(step.reason for step in steps)


@pytest.mark.parametrize("step", BROKEN)
def test_a_step_that_does_not_hold_ends_the_lock_with_its_error(shooting, step):
    if step == "user" and not ROOT:
        pytest.skip("a normal user changes no identity")
    act, options, error = BROKEN[step]
    outcome = shooting.run(act, caged=True, **options)
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert outcome.reached is False


@pytest.mark.parametrize(("act", "options", "error"), OTHERWISE_BROKEN)
def test_other_failures_end_the_lock_too(shooting, act, options, error):
    outcome = shooting.run(act, caged=True, **options)
    assert outcome.error is not None
    assert outcome.error.startswith(error)
    assert outcome.reached is False


def test_the_lock_holds_when_nothing_is_broken(shooting):
    for act in ("nothing",):
        outcome = shooting.run(act, caged=True, refuse="setpgid", errno="EPERM")
        assert (outcome.value, outcome.reached) == ("locked", True)


@needs_root
def test_root_without_run_as_is_refused(shooting):
    outcome = shooting.run("nothing", caged=True, no_run_as=True)
    assert outcome.error == (
        "MechanismFailed: identity: asked to run guest code as uid 0 (None); give `run_as` a user"
    )


def test_the_report_says_what_holds(shooting):
    user = (NOBODY, NOBODY) if ROOT else (os.getuid(), os.getgid())
    outcome = shooting.run("nothing", caged=True, report=True)
    assert outcome.value == repr(jail.Lockdown(jail.Level.W2, landlock.abi(), jail.Identity(*user)))


def test_without_landlock_the_lesser_level_is_given_only_when_asked_for(shooting):
    options = {"refuse": "landlock_create_ruleset", "errno": "ENOSYS"}
    outcome = shooting.run("nothing", caged=True, minimum="W1", report=True, **options)
    assert str(outcome.value).startswith("Lockdown(level=<Level.W1: 'seccomp'>, landlock_abi=0, ")


def test_the_lesser_level_still_takes_landlock_where_there_is_one(shooting):
    outcome = shooting.run("nothing", caged=True, minimum="W1", report=True)
    assert str(outcome.value).startswith("Lockdown(level=<Level.W2: 'seccomp and Landlock'>")
