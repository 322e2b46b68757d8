"""
Code that models really wrote, run in the cage, against what they saw when they wrote it.

The recordings (CODECAGE_TEST_DATA) are of native CPython 3.8 to 3.11 with sympy, numpy and scipy.
Each image runs the recordings that import nothing which it lacks, step by step: the same output
or value, or the same class of exception. Messages of errors differ between releases of Python and
are not compared. The report that is printed (`pytest -s`) has the agreement by image and by kind
of what was seen, and for every disagreement what was seen, then and now.
"""

import ast
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

import agent_client
from tests.e2e.serving import find, private_directory

DATA = os.environ.get("CODECAGE_TEST_DATA")
AGREE_AT_LEAST = 0.95
NOTHING = "[Executed Successfully with No Output]"
# What each image has besides the standard library, of what the recordings import.
IMAGES = {
    "core": set(),
    "math": {"sympy"},
    "web": set(),
    "python313": set(),
    "data": {"sympy", "numpy", "scipy"},
    "native-core": set(),
    "native-data": {"numpy", "scipy"},
}
# Recordings of sympy alone are left to the smaller image: importing it is most of what they cost.
LEFT_OUT: dict[str, set[str]] = {"data": {"sympy"}, "native-data": set()}
# So many steps have to be comparable, or the recordings are not the ones that are meant.
STEPS_AT_LEAST = {
    "core": 500,
    "math": 750,
    "web": 500,
    "python313": 500,
    "data": 550,
    "native-core": 500,
    "native-data": 20,
}
POLICY = """\
version: 1
name: recorded
cage: any
description: Computes.
image: [{images}]
limits: {{wall_time: 60s, cpu_time: 60s, memory: 512Mi}}
"""

pytestmark = [
    pytest.mark.image,
    pytest.mark.data,
    pytest.mark.skipif(
        DATA is None, reason="CODECAGE_TEST_DATA is not set: recorded agent runs"
    ),
]  # fmt: skip


class Kind(Enum):
    """
    What a model saw of a step.
    """

    TEXT = "output or value"
    NOTHING = "nothing"
    ERROR = "exception"


@dataclass(frozen=True, slots=True)
class Step:
    """
    One cell of a recording: `seen` is the text, or the class of the exception.
    """

    code: str
    kind: Kind
    seen: str

    def reason(self, observation: agent_client.Observation) -> str:
        """
        Why the observation disagrees with what was seen; empty where it agrees.
        """
        error = observation.error
        if self.kind is Kind.ERROR:
            now = error.name if error is not None else f"no exception ({observation.status.name})"
            return "" if now == self.seen else f"{self.seen} then, {now} now"
        if not observation.ok:
            return f"no exception then, {error or observation.status.name} now"
        told = observation.stdout.strip() or (observation.value or "")
        return "" if told == self.seen else f"{self.seen!r} then, {told!r} now"


@dataclass(slots=True)
class Report:
    """
    The steps of one image by kind, those that agreed, and why others did not.
    """

    image: str
    steps: Counter[Kind] = field(default_factory=Counter)
    agreed: Counter[Kind] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)

    def take(self, step: Step, observation: agent_client.Observation) -> None:
        reason = step.reason(observation)
        self.steps[step.kind] += 1
        self.agreed[step.kind] += not reason
        if reason:
            self.reasons.append(f"{reason}\n{step.code}")

    @property
    def share(self) -> float:
        return self.agreed.total() / self.steps.total()

    def __str__(self) -> str:
        kinds = ", ".join(f"{one.value} {self.agreed[one]} of {self.steps[one]}" for one in Kind)
        head = f"{self.image}: {self.agreed.total()} of {self.steps.total()} steps agree: {kinds}"
        return "\n".join([head, *self.reasons])


def read(step: dict[str, str | None]) -> Step:
    if step["error"] is not None:
        return Step(str(step["code"]), Kind.ERROR, step["error"].split(":")[0].strip())
    seen = (step["stdout_or_value"] or "").strip()
    if seen == NOTHING:
        return Step(str(step["code"]), Kind.NOTHING, "")
    return Step(str(step["code"]), Kind.TEXT, seen)


def imported(code: str) -> set[str]:
    """
    What a cell imports besides the standard library; of what is no Python, nothing.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names


def recordings() -> list[list[Step]]:
    lines = (Path(str(DATA)) / "mint_replay_sample.jsonl").read_text().splitlines()
    return [[read(step) for step in json.loads(line)["steps"]] for line in lines]


@pytest.fixture(scope="module")
def cage() -> Iterator[agent_client.Cage]:
    built = [name for name in IMAGES if find(name) is not None]
    with private_directory() as policies:
        policies.chmod(0o755)
        (policies / "recorded.yaml").write_text(POLICY.format(images=", ".join(built)))
        with agent_client.connect(policies=policies) as made:
            yield made


def is_for(image: str, steps: list[Step]) -> bool:
    needed = needed_by(steps)
    return needed <= IMAGES[image] and needed != LEFT_OUT.get(image)


def needed_by(steps: list[Step]) -> set[str]:
    return set().union(*(imported(step.code) for step in steps))


def run_in(
    cage: agent_client.Cage, image: str
) -> Callable[[list[Step]], list[agent_client.Observation]]:
    def run(steps: list[Step]) -> list[agent_client.Observation]:
        with cage.session("recorded", image=image) as session:
            return [session.run(step.code, timeout=30) for step in steps]

    return run


@pytest.mark.parametrize("image", IMAGES)
def test_recorded_agent_runs_see_what_they_saw(image, cage):
    if find(image) is None:
        pytest.skip(f"the image `{image}` is not built: run `codecage image build {image}`")
    report = Report(image)
    chosen = [steps for steps in recordings() if is_for(image, steps)]
    # Two at a time: each is a session of its own, in a process of its own.
    with ThreadPoolExecutor(2) as at_once:
        for steps, seen in zip(chosen, at_once.map(run_in(cage, image), chosen), strict=True):
            for step, observation in zip(steps, seen, strict=True):
                report.take(step, observation)
    print(f"\n{report}")
    assert report.steps.total() >= STEPS_AT_LEAST[image], "the recordings were not there"
    assert report.share >= AGREE_AT_LEAST, report


def test_every_recorded_step_is_comparable_in_some_image():
    needed = map(needed_by, recordings())
    assert [names for names in needed if not any(names <= has for has in IMAGES.values())] == []


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("1 + 1", Step("", Kind.TEXT, "3")),
        ("print(2)", Step("", Kind.NOTHING, "")),
        ("1 / 0", Step("", Kind.TEXT, "2")),
        ("1 / 0", Step("", Kind.ERROR, "ValueError")),
        ("2", Step("", Kind.ERROR, "ZeroDivisionError")),
    ],
)
def test_a_disagreement_is_seen_and_told(code, seen, cage):
    with cage.session("recorded", image="core") as session:
        observation = session.run(code)
    report = Report("core")
    report.take(seen, observation)
    assert report.share == 0
    assert " then, " in report.reasons[0]
