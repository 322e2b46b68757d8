"""
The programs of `tests/cases` in a boxed native guest, against the same Python without a box.

What green does not prove: more than a program tells on standard output, by its value and by its
exception. Where wasm guests differ (tests/cases/known.py), this one must not, but for these rows.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from executor.images.cache import default_cache
from executor.process import images
from tests.cases import native
from tests.cases.program import Program, programs
from tests.cases.told import Part, Told, differences, frames
from tests.executor.process.native_world import NativeZygote, Seen, boxed

PROGRAMS = tuple(one for one in programs() if one.needs <= sys.version_info[:2])
NATIVE_SECONDS = 120
AT_LEAST = 300
OUTPUT = frozenset({Part.OUTPUT})
KNOWN = {
    "asyncio/run_inside_run": "Our loop lets asyncio.run nest, on purpose.",
    "refusals/fork": "The box has one process.",
    "refusals/os_system": "The gate judges programs, and there are none.",
    "refusals/process_pool": "The box has one process, and says what to do instead.",
    "refusals/subprocess_run": "The gate judges programs, and there are none.",
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[NativeZygote]:
    core = images.image_of(images.declared_as("native-core"), default_cache())
    with boxed(core.name, core.key) as made:
        if "MechanismMissing" in made.complaint:
            pytest.skip(f"no box can be made here: {made.complaint.splitlines()[-1]}")
        yield made


@pytest.fixture(scope="module")
def natives() -> dict[str, Told]:
    ran = subprocess.run(
        [sys.executable, "-I", native.__file__],
        input=json.dumps({program.name: program.code for program in PROGRAMS}),
        env={"LANG": "C.UTF-8", "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=NATIVE_SECONDS,
        check=True,
    )
    return {name: told_natively(answer) for name, answer in json.loads(ran.stdout).items()}


def told_natively(answer: dict[str, str]) -> Told:
    return Told(
        output=answer["output"],
        value=answer["value"],
        error=answer["error"],
        message=answer["message"],
        frames=frames(answer["traceback"]),
    )


def told_in_the_box(seen: Seen) -> Told:
    error, message = seen.done.error_name, seen.done.error_message
    if seen.status == "EXITED":
        error, message = "SystemExit", str(seen.done.exit_code)
    return Told(seen.out, seen.value, error, message, frames(seen.done.traceback))


def run_apart(zygote: NativeZygote, code: str) -> Seen:
    worker = zygote.spawn().begin()
    seen = worker.run(code)
    zygote.release(worker)
    return seen


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_tells_the_same_in_the_box_and_outside(
    program: Program, zygote: NativeZygote, natives: dict[str, Told]
) -> None:
    seen = told_in_the_box(run_apart(zygote, program.code))
    allowed = OUTPUT if program.name in KNOWN else frozenset()
    assert differences(seen, natives[program.name]) == allowed


def test_there_are_programs_enough_and_every_known_one_exists() -> None:
    assert len(PROGRAMS) >= AT_LEAST
    assert KNOWN.keys() <= {program.name for program in PROGRAMS}
