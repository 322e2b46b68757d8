"""
The guests' Python against plain Python: the programs of `tests/cases`, run in both cages and out
of them.

What green does not prove: that the guest is right where native Python is not compared, which is
on its standard error, on timing, and in the rows of `tests/cases/known.py`.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import agent_client
from agent_client.events import Status
from tests.cases import native
from tests.cases.known import CHANGED, LACKING, Version, expected, table
from tests.cases.program import Program, programs
from tests.cases.told import Told, differences, frames
from tests.e2e.serving import find, private_directory
from tests.side_by_side import answers, selected

pytestmark = pytest.mark.image

IMAGES = ("core", "python313", "data", "native-core")
PROGRAMS = programs()
HERE: Version = sys.version_info[:3]
AT_LEAST = 300
NATIVE_SECONDS = 120
POLICY = """\
version: 1
name: conformance
cage: any
description: Computes, with files in memory.
image: [{images}]
limits: {{wall_time: 30s, cpu_time: 30s, memory: 512Mi, output: 1Mi}}
"""


def built() -> list[str]:
    return [image for image in IMAGES if find(image) is not None]


def images() -> list[object]:
    return [
        pytest.param(image, marks=pytest.mark.skipif(find(image) is None, reason=missing(image)))
        for image in IMAGES
    ]


def missing(image: str) -> str:
    return f"the image `{image}` is not built: run `codecage image build {image}`"


@pytest.fixture(scope="module")
def cage() -> Iterator[agent_client.Cage]:
    with private_directory() as policies:
        policies.chmod(0o755)
        (policies / "conformance.yaml").write_text(POLICY.format(images=", ".join(built())))
        with agent_client.connect(policies=policies) as made:
            yield made


@pytest.fixture(scope="module", params=images())
def image(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def version(cage: agent_client.Cage, image: str) -> Version:
    with cage.session("conformance", image=image) as session:
        told = session.run("import sys; print(*sys.version_info[:3])").stdout.split()
    return tuple(map(int, told))


@pytest.fixture(scope="module")
def natives(request: pytest.FixtureRequest) -> dict[str, Told]:
    wanted = selected(request, "program")
    codes = {one.name: one.code for one in PROGRAMS if one in wanted and one.needs <= HERE}
    ran = subprocess.run(
        [sys.executable, "-I", native.__file__],
        input=json.dumps(codes),
        env={"LANG": "C.UTF-8", "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=NATIVE_SECONDS,
        check=True,
    )
    return {name: told_natively(name, answer) for name, answer in json.loads(ran.stdout).items()}


def told_natively(name: str, answer: dict[str, str]) -> Told:
    assert "died" not in answer, f"{name} ended its native process: {answer}"
    return Told(
        output=answer["output"],
        value=answer["value"],
        error=answer["error"],
        message=answer["message"],
        frames=frames(answer["traceback"]),
    )


@pytest.fixture(scope="module")
def told(
    request: pytest.FixtureRequest, cage: agent_client.Cage, image: str, version: Version
) -> Iterator[Callable[[Program], Told]]:
    wanted = selected(request, "program", image=image)
    runnable = [program for program in PROGRAMS if program in wanted and program.needs <= version]
    with answers(runnable, lambda program: told_in(cage, image, program)) as answer:
        yield answer


def told_in(cage: agent_client.Cage, image: str, program: Program) -> Told:
    with cage.session("conformance", image=image) as session:
        seen = session.run(program.code)
    assert not seen.truncated
    error, message, traceback = "", "", ""
    if seen.error is not None:
        error, message, traceback = seen.error.name, seen.error.message, seen.error.traceback
    elif seen.status is Status.EXITED:
        error, message = "SystemExit", str(seen.ended.exit_code)
    else:
        assert seen.status is Status.OK, seen.text
    return Told(seen.stdout, seen.value, error, message, frames(traceback))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_tells_the_same_in_the_cage_and_on_native_python(
    program: Program,
    image: str,
    version: Version,
    natives: dict[str, Told],
    told: Callable[[Program], Told],
) -> None:
    if program.needs > version:
        pytest.skip(f"needs Python {program.needs}, the guest is {version}")
    seen = told(program)
    if program.writes is not None:
        assert seen == Told(program.writes, None, "", "", ())
    if program.needs <= HERE:
        wanted = natives[program.name]
        allowed = expected(program.name, image, version, HERE)
        assert differences(seen, wanted) == allowed, (seen, wanted)


def test_there_are_programs_enough_and_each_says_what_it_shows() -> None:
    assert len(PROGRAMS) >= AT_LEAST
    for program in PROGRAMS:
        line = program.code.partition("\n")[0]
        assert line.startswith("# "), program.name
        assert line.endswith("."), program.name


def test_a_program_for_a_later_python_has_its_output_with_it() -> None:
    for program in PROGRAMS:
        assert (program.needs > (3, 11)) == (program.writes is not None), program.name


def test_every_known_difference_is_of_a_program_that_exists_and_has_a_reason() -> None:
    names = {program.name for program in PROGRAMS}
    for row in (*CHANGED, *LACKING):
        assert row.program in names
        assert row.parts
        assert row.reason.endswith(".")


def test_the_documentation_has_the_table_of_differences() -> None:
    page = Path(__file__).parents[2] / "docs" / "images.md"
    assert table() in page.read_text(encoding="utf-8")


def test_agreement_sees_a_difference_in_every_part() -> None:
    told = Told("1\n", "2", "KeyError", "'a'", ("3 in f",))
    for part in differences(told, Told("", None, "", "", ())):
        changed = {name: getattr(told, name) for name in Told.__slots__}
        changed[part.value] = ""
        assert differences(told, Told(**changed)) == {part}
    assert differences(told, told) == frozenset()
    assert len(differences(told, Told("", None, "", "", ()))) == 5
