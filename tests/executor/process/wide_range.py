"""
The range, for what needs two boxes at once, a look from outside, or a step that fails.

Adds families of attacks and kinds of jobs to `box_range`.
"""

import contextlib
import json
import os
import re
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import box_range
from box_range import RESULT, Host, Job, Outcome, Range

from executor.linux import landlock
from executor.linux.landlock import PathRule
from executor.process import bare, jail
from executor.process.plan import View

FAMILIES = ("tree", "self", "child", "look")


class WideRange(Range):
    """
    The tests' side.
    """

    program = __file__

    def pair(self, first: str, second: str, host: Host, **options: object) -> Outcome:
        """
        What comes of `second` while another box has done `first` and goes on.
        """
        job = {"first": first, "attack": second, "host": asdict(host), "boxed": True, **options}
        return Outcome(**self.ask(**job))


def _hold(attack: box_range.Attack, host: Host) -> NoReturn:
    said = attack(host)
    os.write(RESULT, said.encode()[:1])
    while True:
        signal.pause()


def _held_box(job: Job, act: str) -> jail.Box:
    """
    A box that has done `act` and waits to be ended.
    """
    reading, writing = box_range._pipe()
    host, attack = Host(**job["host"]), box_range.found(act)
    plan = box_range.plan(**box_range._changes(job))
    try:
        box = jail.clone_box(plan, lambda: _hold(attack, host))
    finally:
        os.close(writing)
    assert os.read(reading, 1), f"{act} ended its box"
    os.close(reading)
    return box


def _pair(job: Job) -> dict[str, Any]:
    first = _held_box(
        {**job, "plan": {**job.get("plan", {}), **job.get("other", {})}}, job["first"]
    )
    try:
        attack = box_range.found(job["attack"])
        return asdict(box_range._boxed(attack, Host(**job["host"]), job))
    finally:
        first.end()


def _text(box: jail.Box, name: str) -> str:
    return Path(f"/proc/{box.pid}/{name}").read_text(errors="replace")


def _seen(job: Job) -> dict[str, Any]:
    """
    A box as the host sees it.
    """
    box = _held_box(job, job["attack"])
    try:
        return {
            "interfaces": re.findall(r"^\s*(\w+):", _text(box, "net/dev"), re.MULTILINE),
            "routes": _text(box, "net/route").splitlines()[1:],
            "addresses": _text(box, "net/fib_trie").splitlines(),
            "sockets": _text(box, "net/unix").splitlines()[1:],
            "descriptors": _descriptors(box),
            "core": _text(box, "limits").split("Max core file size")[1].split()[:2],
        }
    finally:
        box.end()


def _descriptors(box: jail.Box) -> dict[str, str] | None:
    """
    What it holds; None where its own user may not look, since it is not dumpable.

    One that waits for children lets go of all when it next runs, which may be after they began.
    """
    found: dict[str, str] = {}
    for _ in range(10_000):
        try:
            numbers = [*Path(f"/proc/{box.pid}/fd").iterdir()]
            found = {number.name: os.readlink(number) for number in numbers}
        except PermissionError:
            return None
        except FileNotFoundError:
            continue
        if len(found) <= 3:
            break
        os.sched_yield()
    return found


def _abandoned(job: Job) -> dict[str, Any]:
    """
    A watched box whose refused calls nobody answers any more.
    """
    reading, writing = box_range._pipe()
    host, attack = Host(**job["host"]), box_range.found(job["abandoned"])
    try:
        plan = box_range.plan(**box_range._changes(job))
        box = jail.clone_box(plan, lambda: box_range._act(attack, host))
    finally:
        os.close(writing)
    box.close_handed()
    os.waitid(os.P_PIDFD, box.pidfd, os.WEXITED | os.WNOWAIT)
    outcome = box_range._outcome(reading, 0)
    box.end()
    return asdict(outcome)


def _swapped(job: Job) -> dict[str, Any]:
    """
    A box that is to show another object than the one that stands there.
    """
    source, mount, device, inode = job["swapped"]
    view = View(source, mount, (device, inode))
    changes = {"kept": frozenset(), **box_range._changes(job)}
    plan = box_range.plan(mounts=(View("/usr", "/usr"), view), **changes)
    box = jail.clone_box(plan, lambda: os._exit(0))
    box.end()
    return {"said": "a box"}


def _failing_bare(job: Job) -> dict[str, Any]:
    """
    As `fail` of the range, for the steps of a box without namespaces.
    """
    before = bare.STEPS
    bare.STEPS = box_range._failing(before, *job["fail_bare"])
    try:
        rest = {key: value for key, value in job.items() if key != "fail_bare"}
        with tempfile.TemporaryDirectory() as directory:
            tempfile.tempdir = directory
            return {**_DO(rest), "left": os.listdir(directory)}
    finally:
        tempfile.tempdir = None
        bare.STEPS = before


def _rules(job: Job) -> dict[str, Any]:
    """
    The rules of Landlock that a box would get: path and names of rights.
    """
    reading, writing = box_range._pipe()

    def tell(rules: Sequence[landlock.Rule] = (), **_: object) -> NoReturn:
        found = [(rule.path, _rights(rule)) for rule in rules if isinstance(rule, PathRule)]
        assert len(found) == len(rules)
        os.write(RESULT, json.dumps(found).encode())
        os._exit(0)

    try:
        with _landlock(tell):
            jail.clone_box(box_range.plan(**box_range._changes(job)), lambda: os._exit(1))
    except box_range.MechanismError:
        os.close(writing)
    with os.fdopen(reading, "rb") as file:
        return {"rules": json.load(file)}


def _rights(rule: PathRule) -> list[str]:
    return [one.name for one in landlock.FileAccess if one & rule.access and one.name]


def _without(job: Job) -> dict[str, Any]:
    """
    A job in a box whose rules for some paths lack one right, or are not there.
    """
    paths, right = job["paths"], job["right"]
    restrict = landlock.restrict

    def less(rules: Sequence[landlock.Rule] = (), **options: Any) -> int:
        kept = [_less(rule, paths, right) for rule in rules]
        return restrict([rule for rule in kept if rule is not None], **options)

    with _landlock(less):
        return _DO({key: value for key, value in job.items() if key not in {"paths", "right"}})


def _less(rule: landlock.Rule, paths: list[str], right: str) -> landlock.Rule | None:
    if not isinstance(rule, PathRule) or not _is_meant(rule.path, paths):
        return rule
    left = landlock.FileAccess(rule.access & ~int(landlock.FileAccess[right]))
    return PathRule(rule.path, left) if left else None


def _is_meant(path: str, paths: list[str]) -> bool:
    return any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in paths)


@contextlib.contextmanager
def _landlock(restrict: Any) -> Iterator[None]:
    before = landlock.restrict
    landlock.restrict = restrict
    try:
        yield
    finally:
        landlock.restrict = before


_DO = box_range._do
_JOBS = {
    "first": _pair,
    "seen": _seen,
    "abandoned": _abandoned,
    "swapped": _swapped,
    "fail_bare": _failing_bare,
    "rules": _rules,
    "right": _without,
}


def _do(job: Job) -> dict[str, Any]:
    for name, act in _JOBS.items():
        if name in job:
            try:
                return act(job)
            except box_range.MechanismError as error:
                return {"said": f"{type(error).__name__}: {error}"}
    return _DO(job)


if __name__ == "__main__":
    box_range._do = _do
    box_range.FAMILIES = (*box_range.FAMILIES, *FAMILIES)
    box_range.main()
