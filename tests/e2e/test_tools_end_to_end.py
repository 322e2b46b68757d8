"""
Tools of the client in real guests, in both cages, by both clients: they look, behave and fail alike.

Every guest runs the same cells here. What is not shown: that the calls of a hostile guest are held,
which is tests/executor/test_tool_lies.py.
"""

import asyncio
import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest

import agent_client
from agent_client import Status
from codecage.values import Record
from executor.children.probing import NotHeld, probe
from executor.images.catalog import find
from tests.e2e.serving import ACCOUNT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

POLICY = """version: 1
name: {name}
description: a test's policy
cage: {cage}
image: {image}
limits: {{wall_time: 10m, cpu_time: 5m, requests: 200000, memory: 1Gi}}
tools:
  - {{name: search_orders, max_calls: 100, arguments: {{limit: {{min: 1, max: 50}}}}}}
  - {{name: echo, max_calls: 20000, effect: read}}
  - {{name: fail, max_calls: 100}}
  - {{name: double, max_calls: 100}}
  - {{name: ascii, max_calls: 100}}
  - {{name: add, max_calls: 100}}
  - {{name: hang, max_calls: 100}}
  - {{name: big, max_calls: 100}}
"""
GUESTS = {"core": "wasm", "data": "wasm", "native-core": "process"}


@dataclass
class Order:
    number: int
    total: Decimal = Decimal(0)


def search_orders(customer: str, limit: int = 20, *, day: dt.date | None = None) -> list[Order]:
    """
    The orders of a customer, the newest first.
    """
    return [Order(number, Decimal("1.50")) for number in range(limit)] + ([day] if day else [])


def echo(value, /):
    return value


ERRORS = {
    "value": ValueError("bad value"),
    "key": KeyError("absent"),
    "os": FileNotFoundError(2, "No such file", "/home/host/secret"),
    "own": type("ShopClosed", (LookupError,), {})("until Monday"),
    "other": type("Strange", (Exception,), {})("what"),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
}


def fail(how: str) -> None:
    raise ERRORS[how]


async def double(number: int) -> int:
    together.append(number)
    while len(together) < 3:  # noqa: ASYNC110 - the others are on their way
        await asyncio.sleep(0)
    return 2 * number


def tool_ascii(*things):
    return f"the tool got {len(things)}"


tool_ascii.__name__ = "ascii"
together: list[int] = []


def add(left: Order, right: Order) -> Order:
    return Order(left.number + right.number, left.total + right.total)


def big(size: int) -> bytes:
    return bytes(size)


TOOLS = [search_orders, echo, fail, double, tool_ascii, add, big]
VALUES = [
    None, True, False, 0, -1, 2**200, -(2**64), 1.5, -0.0, math.inf, "", "\ud800 ü \U0001f40d",
    b"\0\xff", [1, [2]], (1, (2,)), {1, 2}, frozenset({"a"}), {(1, 2): {None: b"x"}, 1.5: []},
    1 + 2j, dt.date(2026, 2, 28), dt.time(23, 59, 58, 7), dt.timedelta(days=-3, microseconds=5),
    dt.datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - a time without a zone
    dt.datetime(2026, 7, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 7, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    Decimal("1.20"), Fraction(-3, 7),
]  # fmt: skip


def guests():
    for image, cage in GUESTS.items():
        marks = []
        if cage == "wasm" and find(image) is None:
            marks.append(pytest.mark.skip(reason=f"the image {image} is not built"))
        if cage == "process" and isinstance(probe(), NotHeld):
            marks.append(pytest.mark.skip(reason=f"no box can be made here: {probe()}"))
        yield pytest.param(image, marks=marks)


@pytest.fixture(scope="module")
def cage():
    with private_directory() as policies:
        policies.chmod(0o755)
        for image, kind in GUESTS.items():
            if kind == "wasm" and find(image) is None:
                continue
            text = POLICY.format(name=image, cage=kind, image=image)
            (policies / f"{image}.yaml").write_text(text)
        with agent_client.connect(policies=policies, run_as=ACCOUNT) as found:
            yield found


@pytest.fixture(scope="module", params=[*guests()])
def session(request, cage):
    variables = {"table": VALUES, "label": "spring"}
    with cage.session(request.param, tools=TOOLS, variables=variables, final_answer=True) as found:
        yield found


def test_a_tool_is_called_by_position_and_by_name(session):
    seen = session.run("[one.total for one in search_orders('ann', limit=2)]")
    assert seen.value == "[Decimal('1.50'), Decimal('1.50')]"
    seen = session.run(
        "import datetime\nsearch_orders(customer='ann', limit=1, day=datetime.date(2026, 1, 2))[-1]"
    )
    assert (seen.value, seen.tool_calls) == ("datetime.date(2026, 1, 2)", 1)


def test_a_tool_has_the_name_signature_and_document_of_the_function(session):
    told = " ".join(session.run("help(search_orders)").stdout.split()).replace("( ", "(")
    assert (
        "search_orders(customer: str, limit: int = 20, *, day: datetime.date | None = None" in told
    )
    assert "The orders of a customer, the newest first." in told
    code = "import inspect\nstr(inspect.signature(echo)), search_orders.__name__, echo.__doc__"
    assert session.run(code).value == "('(value, /)', 'search_orders', None)"


def test_values_of_every_type_come_back_equal_on_both_sides(session):
    code = (
        "back = echo(table)\n"
        "alike = [(type(a) is type(b) and repr(a) == repr(b)) for a, b in zip(back, table)]\n"
        "assert all(alike), [a for a, good in zip(table, alike) if not good]\n"
        "nan = echo(float('nan')); assert nan != nan\n"
        "final_answer(back)"
    )
    seen = session.run(code)
    assert seen.error is None, seen.text
    assert [(type(one), repr(one)) for one in seen.final] == [
        (type(one), repr(one)) for one in VALUES
    ]


def test_dataclasses_are_records_in_the_guest_and_dataclasses_in_the_function(session):
    code = (
        "import dataclasses, decimal\n"
        "one = search_orders('ann', 1)[0]\n"
        "@dataclasses.dataclass\n"
        "class Order:\n"
        "    number: int\n"
        "    total: object\n"
        "both = add(one, right=Order(41, decimal.Decimal('2.25')))\n"
        "print(both, both.number, both == Order(41, decimal.Decimal('3.75')))\n"
        "final_answer(both)"
    )
    seen = session.run(code)
    assert seen.stdout == "Order(number=41, total=Decimal('3.75')) 41 True\n"
    assert isinstance(seen.final, Record)
    assert seen.final == Order(41, Decimal("3.75"))


@pytest.mark.parametrize(
    ("how", "caught", "told"),
    [
        ("value", "ValueError", "bad value"),
        ("key", "KeyError", "'absent'"),
        ("os", "FileNotFoundError", "[Errno 2] No such file"),
        ("own", "LookupError", "until Monday"),
        ("other", "Exception", "Strange: what"),
        ("unicode", "UnicodeDecodeError", "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_what_a_tool_raises_is_caught_as_the_builtin_class_that_it_is(session, how, caught, told):
    code = f"try:\n    fail({how!r})\nexcept {caught} as error:\n    print(type(error).__name__, error, sep=': ')"
    seen = session.run(code)
    assert seen.stdout.startswith(f"{caught}: {told}")
    traceback = session.run(f"fail({how!r})").error.traceback
    assert "host" not in traceback.replace("codecage", "")
    assert traceback.count("File ") == 1


def test_a_denied_call_says_why_and_the_function_is_not_called(session):
    seen = session.run("search_orders('ann', limit=51)")
    assert seen.error.name == "PermissionError"
    assert (
        "its argument limit is more, and has to be a number from 1 up to 50" in seen.error.message
    )
    assert (seen.denied, seen.tool_calls) == (1, 0)


def test_arguments_that_do_not_fit_are_a_type_error_before_anything_is_asked(session):
    seen = session.run("search_orders()")
    assert (seen.error.name, seen.requests) == ("TypeError", 0)
    assert "missing a required argument: 'customer'" in seen.error.message


def test_a_name_that_shadows_a_builtin_falls_back_to_it_for_what_cannot_cross(session):
    code = "class Thing:\n    def __repr__(self): return 'a thing'\nascii(1), ascii(Thing())"
    assert session.run(code).value == "('the tool got 1', 'a thing')"
    other = session.run("echo(Thing())")
    assert other.error.name == "TypeError"
    assert "a value of type Thing cannot pass" in other.error.message


def test_awaited_tools_run_beside_each_other_on_the_host(session):
    together.clear()
    code = "import asyncio\nawait asyncio.gather(double(1), double(2), asyncio.sleep(0, 'x'), double(3))"
    assert session.run(code).value == "[2, 4, 'x', 6]"
    again = "async def one(): return await double(7)\nawait one()"
    assert session.run(again).value == "14"


def test_what_was_printed_before_a_call_is_seen_before_it(session):
    code = "print('before', end='')\necho(1)\nprint(' after')"
    order = [type(event).__name__ for event in session.stream(code)]
    assert order.index("Output") < order.index("ToolCalled") < len(order) - 1


def test_sizes_are_bounded_with_a_sentence(session):
    assert session.run("len(big(8 * 2**20 - 100))").value == "8388508"
    seen = session.run("big(8 * 2**20)")
    assert (seen.error.name, "8,388,608 bytes that are allowed" in seen.error.message) == (
        "ValueError",
        True,
    )
    seen = session.run("echo(bytes(2**20))")
    assert (seen.error.name, seen.tool_calls) == ("ValueError", 0)
    assert session.run("len(echo(bytes(2**20 - 100)))").value == "1048476"


def test_a_final_answer_ends_its_cell_and_no_handler_takes_it(session):
    code = "print('logged')\ntry:\n    final_answer({'total': (1, 2)})\nexcept Exception:\n    print('taken')\nprint('after')"
    seen = session.run(code)
    assert (seen.status, seen.is_final, seen.final) == (Status.OK, True, {"total": (1, 2)})
    assert seen.stdout == "logged\n"
    assert seen.text == "logged\n[the final answer was given]"
    assert session.run("async def answer(): final_answer(7)\nawait answer()").final == 7
    assert not session.run("1").is_final


@pytest.mark.parametrize("session", [p for p in guests() if p.values == ("data",)], indirect=True)
def test_arrays_and_images_are_written_and_read_in_a_guest_that_has_their_packages(session):
    code = (
        "import numpy as np\n"
        "from PIL import Image\n"
        "values = echo.__globals__['values']\n"
        "array, image = np.arange(12, dtype='>i2').reshape(3, 4)[:, ::2], Image.new('RGB', (9, 7), 'red')\n"
        "back, seen = values.decode(values.encode([array, image]))\n"
        "assert (back == array).all() and back.dtype == array.dtype, back\n"
        "assert (seen.size, seen.mode, seen.tobytes()) == (image.size, image.mode, image.tobytes())\n"
        "np.float64(2.5), type(values.decode(values.encode(np.int16(3))))"
    )
    assert session.run(code).value == "(np.float64(2.5), <class 'numpy.int16'>)"


def test_variables_are_there_before_the_first_cell(session):
    assert session.run("label").value == "'spring'"


def test_ten_thousand_calls_fit_into_one_cell(cage):
    """
    In one guest, of a tool that only reads: of others each call is on disk before it is made, and
    how long that takes is the disk's (executor/bench/rows/cells.py).
    """
    calls = []

    def count(number):
        calls.append(number)
        return number

    count.__name__ = "echo"
    with cage.session("core", tools=[count]) as session:
        seen = session.run("sum(echo(n) for n in range(10_000))")
    assert (seen.value, seen.tool_calls) == ("49995000", 10_000)
    assert calls == [*range(10_000)]


@pytest.mark.parametrize("image", [*guests()])
def test_an_interrupt_ends_a_call_that_hangs_and_the_state_is_kept(cage, image):
    begun = []

    def hang():
        begun.append(session.interrupt())

    async def aside(number):
        begun.append(number)
        await asyncio.to_thread(session.interrupt)
        await asyncio.sleep(3600)

    aside.__name__ = "double"
    with cage.session(image, tools=[hang, aside]) as session:
        seen = session.run("x = 1\ntry:\n    hang()\nexcept Exception:\n    print('taken')")
        assert (seen.status, seen.stdout) == (Status.INTERRUPTED, "")
        seen = session.run("await double(1)")
        assert (seen.status, begun) == (Status.INTERRUPTED, [True, 1])
        assert session.run("x").value == "1"


def test_an_attached_session_performs_with_the_tools_that_it_is_given(cage):
    with cage.session("core", tools=[echo]) as first:
        assert cage.attach(first.id, tools=[echo]).run("echo(3)").value == "3"
        seen = cage.attach(first.id).run("echo(3)")
        assert seen.error.name == "ConnectionRefusedError"
        assert "performs no tools" in seen.error.message
        seen = cage.attach(first.id, tools=[big]).run("echo(3)")
        assert (seen.error.name, seen.error.message) == (
            "NameError",
            "this client has no tool 'echo'",
        )


def test_what_can_be_no_tool_or_variable_is_said_before_a_session_is_made(cage):
    before = len(cage.sessions())
    for tools in ([lambda: 1], [echo, echo], [3]):
        with pytest.raises(agent_client.InvalidRequest):
            cage.session("core", tools=tools)
    with pytest.raises(agent_client.InvalidRequest, match="cannot pass"):
        cage.session("core", variables={"x": object()})
    assert len(cage.sessions()) == before


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit])
def test_an_async_tool_that_ends_itself_is_an_error_in_the_guest_and_others_go_on(cage, error):
    async def double(number):
        if number == 1:
            raise error
        return 2 * number

    with cage.session("core", tools=[double]) as session:
        seen = session.run("await double(1)")
        assert (seen.error.name, seen.error.message) == (
            "RuntimeError",
            "the tool double was cancelled",
        )
        assert session.run("await double(2)").value == "4"


def test_the_asyncio_client_performs_plain_and_async_tools(cage):
    async def main():
        together.clear()
        async with (
            agent_client.connect_async(cage.address) as connection,
            connection.session("core", tools=TOOLS, final_answer=True) as session,
        ):
            code = "import asyncio\nfinal_answer([echo(1), *await asyncio.gather(*map(double, (1, 2, 3)))])"
            seen = await session.run(code)
            assert (seen.final, seen.tool_calls) == ([1, 2, 4, 6], 4)
            seen = await session.run(
                "try:\n    fail('value')\nexcept ValueError as error: print(error)"
            )
            assert seen.stdout == "bad value\n"
            # What sends a cell's results ends with the cell.
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                _, left = await asyncio.wait(others, timeout=60)
                assert not left

    asyncio.run(main())
