"""
What an engine must offer so that the CodeAct family plugs in: one number, one or more tests.

The family is CodeAct's chat engine, M3ToolEval and MINT, smolagents, OpenHands and their kin; the
numbers are those of the requirements that were read from their sources. Number 20 is shown in
test_smolagents_end_to_end.py and test_wire_alone.py, too. Both cages where a requirement is about
what code can do; the client's side is one and the same for both.
"""

import asyncio
import inspect
import textwrap
from pathlib import Path

import pytest

import agent_client
from agent_client import (
    CellRunning,
    Cut,
    InvalidRequest,
    Output,
    SessionState,
    Started,
    Status,
    Value,
    Wording,
    calls,
    cells,
    client,
    streams,
)
from agent_client.wording import worded
from codecage.v1 import codecage_pb2 as pb
from executor.children.probing import NotHeld, probe
from executor.process.images import find as find_native
from tests.e2e.serving import ACCOUNT, needs_image, private_directory
from tests.executor.waiting import until
from tests.servers.relay import Relay

pytestmark = [pytest.mark.image, needs_image]

POLICY = """version: 1
name: {name}
description: a test's policy
cage: {cage}
image: {image}
limits: {{wall_time: 1m, output: {output}, idle_timeout: {idle}, requests: 50000}}
tools: [{{name: lookup, max_calls: 20000, effect: read}}]
"""
BOX = "process: {programs: [/usr/bin/env, /usr/bin/sleep]}\n"


def held(image):
    if isinstance(probe(), NotHeld):
        return [pytest.mark.skip(reason=f"no box can be made here: {probe()}")]
    missing = find_native(image) is None
    return [pytest.mark.skip(reason=f"the image {image} is not built")] if missing else []


BOTH = ["core", pytest.param("native-core", marks=held("native-core"))]


@pytest.fixture(scope="module")
def cage():
    with private_directory() as policies:
        policies.chmod(0o755)

        def add(name, image, output="2Mi", idle="15m", more=""):
            kind = "process" if image.startswith("native-") else "wasm"
            text = POLICY.format(name=name, cage=kind, image=image, output=output, idle=idle)
            (policies / f"{name}.yaml").write_text(text + more)

        add("core", "core")
        add("small", "core", output="4Ki")
        add("brief", "core", idle="1s")
        if not held("native-core"):
            add("native-core", "native-core", more=BOX)
        if not held("native-data"):
            add("native-data", "native-data", output="8Mi")
        with agent_client.connect(policies=policies, run_as=ACCOUNT) as found:
            yield found


@pytest.fixture(scope="module", params=BOTH)
def session(request, cage):
    with cage.session(
        request.param, tools=[lookup], variables={"given": {1: (2, b"3")}}, final_answer=True
    ) as found:
        yield found


@pytest.fixture(scope="module", params=BOTH)
def plain(request, cage):
    with cage.session(request.param) as found:
        yield found


def lookup(key: str, /, *, times: int = 1) -> str:
    """
    What belongs to a key.
    """
    if key == "none":
        raise KeyError(key)
    return key * times


def test_must_01_a_session_is_opened_listed_and_ended_from_outside_by_its_id(cage):
    with cage.session("core", labels={"task": "42"}) as session:
        session.run("x = 1")
        (found,) = [one for one in cage.sessions() if one.id == session.id]
        assert dict(found.labels) == {"task": "42"}
        assert cage.attach(session.id).run("x").value == "1"
        cage.attach(session.id).close()
        assert session.id not in {one.id for one in cage.sessions()}
        with pytest.raises(agent_client.SessionNotFound):
            session.run("x")


def test_must_01_a_session_that_nobody_uses_ends_by_itself(cage):
    idle, used = cage.session("brief"), cage.session("core")
    # Its idle time is a second; the other's a quarter of an hour.
    until(lambda: idle.id not in {one.id for one in cage.sessions()})
    assert used.id in {one.id for one in cage.sessions()}
    used.close()


def test_must_02_names_imports_directory_and_files_survive_errors_timeouts_and_interrupts(plain):
    before = "import os, json\nvalue = [1]\nos.makedirs('/work/kept', exist_ok=True)\nos.chdir('kept')\nopen('f', 'w').write('on disk')"
    assert plain.run(before).ok
    assert plain.run("value.append(2)\n1/0").status is Status.ERROR
    assert plain.run("value.append(3)\nwhile True: pass", timeout=1).status is Status.TIMED_OUT
    ends = []
    events = plain.stream("value.append(4)\nprint('on', flush=True)\nwhile True: pass")
    for event in events:
        if isinstance(event, Output):
            assert plain.interrupt()
        ends.append(event)
    assert ends[-1].status is Status.INTERRUPTED
    seen = plain.run("value, json.dumps(value), os.getcwd(), open('f').read()").value
    assert seen == "([1, 2, 3, 4], '[1, 2, 3, 4]', '/work/kept', 'on disk')"
    assert plain.run("os.chdir('/work')").ok


def test_must_03_the_last_expression_is_the_value_and_the_last_assignment_where_asked(plain):
    assert plain.run("a = 2\nb = 3\na * b").value == "6"
    assert plain.run("c = 7").value is None
    assert plain.run("c = 7", assigned=True).value == "7"
    told = [one.text for one in plain.stream("c = 7", assigned=True) if isinstance(one, Value)]
    assert told == ["7"]
    assert plain.run("c += 1", assigned=True).value == "8"
    assert plain.run("c: int = 9", assigned=True).value == "9"
    assert plain.run("c, d = 'x', [1]", assigned=True).value == "('x', [1])"
    assert plain.run("c = 7;", assigned=True).value is None
    assert plain.run("e = {}\ne['k'] = 1", assigned=True).value is None
    assert plain.run("c = 1 / 0", assigned=True).error.name == "ZeroDivisionError"


def test_must_03_notebook_lines_and_await_are_taken(plain):
    assert plain.run("import asyncio\nawait asyncio.sleep(0, 5)").value == "5"
    assert plain.run("%colors nocolor\n1").value == "1"
    assert "pip" in plain.run("!pip install sympy").text
    assert "sympy" in plain.run("%pip install sympy").text


def test_must_04_a_result_has_typed_fields(session):
    seen = session.run("import sys\nprint('a')\nprint('b', file=sys.stderr)\nlookup('k')\n[1]")
    assert [(stream.value, text) for stream, text in seen.chunks] == [
        ("stdout", "a\n"),
        ("stderr", "b\n"),
    ]
    assert (seen.value, seen.error, seen.tool_calls) == ("[1]", None, 1)
    assert (seen.truncated, seen.status) == (False, Status.OK)
    assert min(seen.duration, seen.cpu_time) > 0
    assert seen.peak_memory > 2**20
    assert seen.audit_head.sequence > 0
    failed = session.run("def f(): raise ValueError('no')\nf()")
    assert (failed.error.name, failed.error.message) == ("ValueError", "no")
    assert failed.error.traceback.startswith("Traceback (most recent call last):\n")


def test_must_04_each_systems_words_are_made_of_them(plain):
    def told(code, wording):
        return worded(plain.run(code), wording, 20_000, 4)

    silent = "[Code executed successfully with no output]"
    assert told("pass", Wording.CODEACT) == f"Execution Output:\n{silent}"
    assert told("pass", Wording.M3TOOLEVAL).endswith("Did you forget to print?]")
    assert told("print(1)\n2", Wording.SMOLAGENTS) == (
        "Observation:\nExecution logs:\n1\nLast output from code snippet:\n2"
    )
    assert told("pass", Wording.OPENHANDS).startswith("EXECUTION RESULT of [execute_ipython_cell]")


@pytest.mark.parametrize("end", ["1 / 0", "while True: pass", "final_answer(5)"])
def test_must_05_output_before_an_error_a_timeout_or_an_answer_is_delivered(session, end):
    seen = session.run(f"print('before')\nprint('and more', end='')\n{end}", timeout=1)
    assert seen.stdout == "before\nand more"


def test_must_06_the_service_caps_and_the_client_cuts(cage, plain):
    seen = plain.run("print('é' * 600_000)")
    assert len(seen.stdout.encode()) == 1_200_001
    assert not seen.truncated
    middle, head = seen.render(2000), seen.render(2000, cut=Cut.HEAD)
    assert max(len(middle), len(head)) <= 2000
    assert middle.endswith("é")
    assert "characters cut here" in head[-50:]
    assert seen.render(500, cut=Cut.NONE) == seen.stdout.rstrip("\n")
    with cage.session("small") as session:
        over = session.run("print('x' * 10_000)")
    assert over.truncated
    assert over.ended.output_bytes == 10_001
    assert "4,096 of 10,001 bytes shown" in over.text


def test_must_07_a_timeout_interrupts_first_and_kills_what_swallows_it(cage):
    with cage.session("core") as session:
        first = session.run(
            "x = 1\ntry:\n    while True: pass\nexcept KeyboardInterrupt:\n    print('told')\n    raise",
            timeout=1,
        )
        assert (first.status, first.stdout) == (Status.TIMED_OUT, "told\n")
        assert session.run("x").value == "1"
        stubborn = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
        second = session.run(stubborn, timeout=1)
        assert second.session_lost
        assert second.reason
        with pytest.raises(agent_client.SessionLost):
            session.run("1")


def test_must_08_an_interrupt_is_a_call_of_its_own_and_a_broken_connection_loses_no_cell(cage):
    code = "import time\nfor n in range(20):\n    print(n, flush=True)\n    time.sleep(0.1)\nn"
    with private_directory() as place:
        target = cage.address.removeprefix("unix:")
        with Relay(place / "sock", target) as relay, cage.session("core") as session:
            with agent_client.connect(f"unix:{place}/sock") as other:

                def broken(*_):
                    if relay.accepted < 3:
                        relay.cut()

                seen = other.attach(session.id).run(code, keep=30, on_output=broken)
            assert relay.accepted >= 2
            assert seen.stdout == "".join(f"{number}\n" for number in range(20))
            assert (seen.value, seen.status) == ("19", Status.OK)


def rests(session):
    try:
        session.files()
    except agent_client.CellRunning:
        return False
    return True


def test_must_08_without_keep_a_broken_connection_ends_the_cell(cage):
    with private_directory() as place:
        target = cage.address.removeprefix("unix:")
        with Relay(place / "sock", target) as relay, cage.session("core") as session:
            other = agent_client.connect(f"unix:{place}/sock")
            with other, pytest.raises(agent_client.ServerUnavailable) as caught:
                other.attach(session.id).run(
                    "print('on', flush=True)\nwhile True: pass",
                    on_output=lambda *_: relay.cut(),
                )
            assert "".join(text for _, text in caught.value.chunks) == "on\n"
            # Who follows a cell keeps it: nobody does before the server has seen the break.
            until(lambda: rests(session))
            *_, last = session.follow(1)
            assert last.status is Status.INTERRUPTED


def test_must_08_the_asyncio_client_comes_back_too(cage):
    async def scenario(place, relay, identity):
        other = agent_client.connect_async(f"unix:{place}/sock")
        async with other, other.attach(identity) as session:
            return await session.run(
                "print('on', flush=True)\nimport time\ntime.sleep(1)\n'end'",
                keep=30,
                on_output=lambda *_: relay.cut(),
            )

    with private_directory() as place:
        target = cage.address.removeprefix("unix:")
        with Relay(place / "sock", target) as relay, cage.session("core") as session:
            seen = asyncio.run(scenario(place, relay, session.id))
            assert relay.accepted == 2
            assert (seen.stdout, seen.value) == ("on\n", "'end'")


def test_must_09_input_is_at_its_end_and_exit_ends_the_cell_alone(plain):
    asked = plain.run("kept = 1\ninput('name? ')")
    assert (asked.stdout, asked.error.name) == ("name? ", "EOFError")
    for code in ("exit()", "quit()", "import sys; sys.exit(0)"):
        assert plain.run(code).status is Status.EXITED
    assert plain.run("kept").value == "1"


def test_must_10_tools_are_functions_called_by_position_and_name_and_caught(session):
    code = """
    import inspect
    said = [lookup('ab', times=2), str(inspect.signature(lookup)), lookup.__doc__]
    try:
        lookup('none')
    except KeyError as error:
        said.append(repr(error))
    assert not hasattr(lookup, '__globals__') or 'Relay' not in lookup.__globals__
    said, sum(len(lookup('x')) for _ in range(1000))
    """
    seen = session.run(textwrap.dedent(code))
    assert seen.value == repr(
        (
            [
                "abab",
                "(key: str, /, *, times: int = 1) -> str",
                inspect.getdoc(lookup),
                "KeyError('none')",
            ],
            1000,
        )
    )
    assert seen.tool_calls == 1002


def median(values):
    """
    The middle of some values, by a tool that is source: it runs where the cell runs.
    """
    import numpy as np

    return float(np.median(values))


@pytest.mark.parametrize("policy", [pytest.param("native-data", marks=held("native-data"))])
def test_must_11_a_tool_may_be_source_of_the_guests_with_numpy_and_pillow(cage, policy):
    with cage.session(policy) as session:
        assert session.run(inspect.getsource(median)).ok
        assert session.run("median([3, 1, 2]), 'held' in globals()").value == "(2.0, False)"
        assert "its source" not in session.run("help(median)").stdout
        picture = "from PIL import Image\nImage.new('RGB', (3, 2)).size"
        assert session.run(picture).value == "(3, 2)"


def test_must_12_variables_are_there_before_the_first_cell(session):
    assert session.run("given").value == "{1: (2, b'3')}"


def test_must_13_a_final_answer_stops_its_cell_and_no_handler_takes_it(session):
    seen = session.run(
        "print('log')\ntry:\n    final_answer({'a': (1, 2)})\nexcept Exception:\n    print('caught')\nprint('after')"
    )
    assert (seen.is_final, seen.final, seen.stdout) == (True, {"a": (1, 2)}, "log\n")


def test_must_13_without_it_there_is_no_such_name(plain):
    assert plain.run("final_answer(1)").error.name == "NameError"


@pytest.mark.parametrize("policy", BOTH)
def test_must_14_imports_keep_to_a_list_with_wildcards_in_smolagents_words(cage, policy):
    allowed = ["math", "collections.*", "os.path"]
    with cage.session(policy, imports=allowed) as session:
        for code in (
            "import math",
            "import collections.abc",
            "from os.path import join",
            "import os",
        ):
            assert session.run(code).ok, code
        of, from_ = session.run("import sys"), session.run("from os.nowhere import path")
        words = f"is not allowed. Authorized imports are: {allowed}"
        assert (of.error.name, of.error.message) == ("ImportError", f"Import of sys {words}")
        assert from_.error.message == f"Import from os.nowhere {words}"
        # What modules import is not asked: most_common has its own import of heapq.
        assert session.run("collections.Counter('aab').most_common(1)").value == "[('a', 2)]"
    with cage.session(policy, imports=["*"]) as session:
        assert session.run("import sys, os.path").ok
    with cage.session(policy, imports=[]) as session:
        assert session.run("import math").error.message.endswith("imports are: []")
    with pytest.raises(InvalidRequest, match="'no module' is no module"):
        cage.session(policy, imports=["no module"])


@pytest.mark.parametrize("policy", [pytest.param("native-data", marks=held("native-data"))])
def test_must_15_plots_are_png_and_text_and_bounded(cage, policy):
    with cage.session(policy) as session:
        code = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
        (shown,) = session.run(code).displays
        assert shown.png.startswith(b"\x89PNG")
        assert shown.text
        over = session.run("display({'image/png': b'x' * (9 << 20)}, raw=True)")
        assert over.displays == ()


@pytest.mark.parametrize("policy", [pytest.param("native-data", marks=held("native-data"))])
def test_must_15_a_picture_may_be_the_final_answer(cage, policy):
    with cage.session(policy, final_answer=True) as session:
        made = "from PIL import Image\nfinal_answer(answer=Image.new('RGB', (3, 2), (1, 2, 3)))"
        picture = session.run(made).final
    assert (picture.size, picture.mode, picture.getpixel((2, 1))) == ((3, 2), "RGB", (1, 2, 3))


def test_must_16_files_are_put_listed_and_got_and_a_cell_has_its_directory(plain):
    plain.put("/work/in/data.txt", b"12")
    assert plain.run("int(open('data.txt').read()) + 1", cwd="/work/in").value == "13"
    assert plain.run("open('out.txt', 'w').write('done')", cwd="/work/in").ok
    assert {Path(one.path).name for one in plain.files("/work/in")} == {"data.txt", "out.txt"}
    assert plain.get("/work/in/out.txt") == b"done"
    assert plain.run("1", cwd="/work/none").error.name == "FileNotFoundError"
    assert plain.run("1", cwd="/work").value == "1"
    with pytest.raises(InvalidRequest, match="absolute"):
        plain.run("1", cwd="in")


def test_must_17_tracebacks_are_plain_and_of_the_guests_frames_alone(plain):
    code = "import json\ndef f(text):\n    return json.loads(text)\nf('{')"
    seen, again = plain.run(code), plain.run(code)
    told = seen.error.traceback
    assert "\x1b" not in told
    assert "in f\n    return json.loads(text)" in told
    number = told.split("<cell ")[1].split(">")[0]
    assert again.error.traceback == told.replace(f"<cell {number}>", f"<cell {int(number) + 1}>")
    for host in ("executor", "codecage", "site-packages", str(Path(__file__).parents[2])):
        assert host not in told


def test_must_18_sessions_run_beside_each_other_and_one_cell_at_a_time_in_each(cage):
    sessions = [cage.session("core") for _ in range(4)]
    streams = [one.stream("print(1, flush=True)\nwhile True: pass") for one in sessions]
    for stream in streams:
        assert [type(next(stream)) for _ in range(2)] == [Started, Output]
    states = {one.id: one.state for one in cage.sessions()}
    assert {states[one.id] for one in sessions} == {SessionState.RUNNING}
    with pytest.raises(CellRunning):
        sessions[0].run("2")
    for session, stream in zip(sessions, streams, strict=True):
        session.interrupt()
        assert [*stream][-1].status is Status.INTERRUPTED
        assert session.run("3").value == "3"
        session.close()


def test_must_19_a_client_finds_out_what_there_is(cage):
    info = cage.info()
    (core,) = [image for image in info.images if image.name == "core"]
    assert core.python_version.startswith("3.")
    (policy,) = [one for one in cage.policies() if one.name == "small"]
    assert policy.limits.output_bytes == 4096
    assert info.version


def test_must_20_the_client_stands_beside_the_wire(cage):
    # Every method of the wire has one in the client: nothing needs the stub.
    methods = {method.name for method in pb.DESCRIPTOR.services_by_name["Codecage"].methods}
    used = "".join(Path(one.__file__).read_text() for one in (client, calls, cells, streams))
    assert {name for name in methods if f'"{name}"' not in used} == set()


@pytest.mark.parametrize("policy", [pytest.param("native-core", marks=held("native-core"))])
def test_must_21_a_granted_program_runs_with_its_streams_and_its_time(cage, policy):
    with cage.session(policy) as session:
        fine = session.command(["/usr/bin/env", "sh"], timeout=20)
        assert (fine.exit_code, fine.timed_out) == (127, False)
        assert "sh" in fine.stderr
        assert session.command(["/usr/bin/env", "-0"], cwd="/tmp").stdout.count("\0") > 2
        late = session.command(["/usr/bin/sleep", "60"], timeout=0.5)
        assert (late.exit_code, late.timed_out) == (None, True)
        refused = session.command(["/usr/bin/id"])
        assert refused.exit_code is None
        assert "run /usr/bin/id is not granted" in refused.error
        (record,) = [one for one in session.audit() if "/usr/bin/id" in one.request]
        assert record.event == "decision"
        words = ["/usr/bin/env", "a'\"\n);import os#"]
        assert "No such file" in session.command(words).stderr


def test_must_21_in_webassembly_there_is_none(cage):
    with cage.session("core") as session:
        refused = session.command(["/usr/bin/env"])
        assert (refused.exit_code, refused.stdout) == (None, "")
        assert refused.error.startswith("PermissionError")
        session.run(
            "import subprocess, types\nsubprocess.run = lambda *a, **k: types.SimpleNamespace(returncode='0' * 50)"
        )
        assert session.command(["/usr/bin/env"]).exit_code is None
    with pytest.raises(InvalidRequest, match="no shell reads them"):
        session.command("ls -l")
