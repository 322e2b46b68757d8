"""
ctypes in the real guest: what agents' code does with it, and what it can do with addresses.

Programs that mean the same natively run there as well, and must print the same.
"""

import contextlib
import io
from collections.abc import Iterator

import pytest
import wasmtime

from executor.wasm.calls import GuestTrapped
from executor.wasm.ffi import CLOSURES_MAX, DEPTH_MAX
from executor.wasm.process import Exited
from tests.executor.wasm.foreign import boot_with_closures, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("closures")


@pytest.fixture(scope="module")
def guest(image, folder):
    return boot_with_closures(image, folder)


@pytest.fixture
def doomed(image, folder):
    """
    A guest that the test may end.
    """
    return boot_with_closures(image, folder)


BEGIN = "from ctypes import *\nlibc = CDLL(None)\n"

SAME = {
    "integers": """
        print(libc.abs(-5), libc.strlen(b"hello"), libc.toupper(ord("a")))
        libc.llabs.restype, libc.llabs.argtypes = c_longlong, [c_longlong]
        print(libc.llabs(-2**40), libc.atoi(b"123abc"))
        """,
    "floats": """
        libc.strtod.restype, libc.strtod.argtypes = c_double, [c_char_p, c_void_p]
        libc.strtof.restype, libc.strtof.argtypes = c_float, [c_char_p, c_void_p]
        print(libc.strtod(b"3.5e3", None), libc.strtof(b"0.25", None))
        """,
    "variadic": """
        text = create_string_buffer(200)
        libc.snprintf.argtypes = [c_char_p, c_size_t, c_char_p]
        form = b"%f|%d|%lld|%s|%d|%.2f|%5.1f|%llx|%u"
        size = libc.snprintf(text, 200, form, c_double(1.5), c_int(-7), c_longlong(-2**40), b"text",
                             c_int(3), c_double(2.5), c_double(-0.5), c_longlong(255), c_uint(2**32-1))
        print(size, text.value)
        print(libc.snprintf(text, 200, b"none"), text.value, libc.snprintf(text, 2, b"cut"), text.raw[:3])
        """,
    "struct results": """
        class Pair(Structure): _fields_ = [("quot", c_int), ("rem", c_int)]
        class Long(Structure): _fields_ = [("quot", c_longlong), ("rem", c_longlong)]
        libc.div.restype, libc.div.argtypes = Pair, [c_int, c_int]
        libc.lldiv.restype, libc.lldiv.argtypes = Long, [c_longlong, c_longlong]
        one, two = libc.div(17, -5), libc.lldiv(2**40 + 3, 2**20)
        print(one.quot, one.rem, two.quot, two.rem)
        """,
    "qsort": """
        compare = CFUNCTYPE(c_int, POINTER(c_int), POINTER(c_int))
        numbers = (c_int * 6)(5, 2, 9, 1, 7, 3)
        libc.qsort.restype = None
        libc.qsort(numbers, 6, 4, compare(lambda a, b: a[0] - b[0]))
        print(list(numbers))
        """,
    "bsearch": """
        compare = CFUNCTYPE(c_int, POINTER(c_int), POINTER(c_int))
        numbers = (c_int * 5)(1, 3, 5, 7, 9)
        libc.bsearch.restype = c_void_p
        libc.bsearch.argtypes = [c_void_p, c_void_p, c_size_t, c_size_t, c_void_p]
        key = compare(lambda a, b: a[0] - b[0])
        for wanted in (7, 8):
            found = libc.bsearch(byref(c_int(wanted)), numbers, 5, 4, cast(key, c_void_p))
            print(found and (found - addressof(numbers)) // 4)
        """,
    "callbacks of every type": """
        for kind, value in ((c_byte, -3), (c_ubyte, 253), (c_short, -300), (c_ushort, 65000),
                            (c_int, -70000), (c_uint, 4000000000), (c_longlong, -2**40),
                            (c_ulonglong, 2**63 + 1), (c_float, 1.5), (c_double, 2.25),
                            (c_bool, True), (c_char, b"x")):
            same = CFUNCTYPE(kind, kind)(lambda given: given)
            mixed = CFUNCTYPE(kind, c_int, kind)(lambda number, given: given)
            print(same(value), mixed(0, value))
        print(CFUNCTYPE(c_int)(lambda: 7)(), CFUNCTYPE(None)(lambda: 7)())
        """,
    "structs as arguments of callbacks": """
        class Point(Structure): _fields_ = [("x", c_double), ("y", c_double)]
        class One(Structure): _fields_ = [("value", c_float)]
        class Box(Structure): _fields_ = [("low", Point), ("high", Point), ("name", c_char * 5)]
        class Small(Structure): _fields_ = [("a", c_byte), ("b", c_byte)]
        area = CFUNCTYPE(c_double, Point, c_int)(lambda point, times: point.x * point.y * times)
        print(area(Point(3, 4), 2), CFUNCTYPE(c_float, One)(lambda one: one.value * 2)(One(1.5)))
        def told(box, small):
            return box.name == b"abcd" and int(box.high.x - box.low.y) + small.a - small.b
        print(CFUNCTYPE(c_int, Box, Small)(told)(Box(Point(1, 2), Point(9, 4), b"abcd"), Small(3, -1)))
        """,
    "a struct is a copy": """
        class Point(Structure): _fields_ = [("x", c_int), ("y", c_int)]
        def change(point):
            point.x = 100
            return point.x
        mine = Point(1, 2)
        print(CFUNCTYPE(c_int, Point)(change)(mine), mine.x, mine.y)
        """,
    "unions, arrays, pointers": """
        class Either(Union): _fields_ = [("whole", c_uint), ("parts", c_ubyte * 4)]
        either = Either(whole=0x01020304)
        print(list(either.parts), sizeof(either))
        grid = (c_int * 3 * 2)((1, 2, 3), (4, 5, 6))
        print([list(row) for row in grid], cast(grid, POINTER(c_int))[4])
        place = pointer(c_int(5)); place.contents.value += 1; print(place[0])
        data = create_string_buffer(b"hello"); memmove(addressof(data), b"J", 1)
        print(string_at(data), string_at(data, 2), memset(data, 0x41, 2) and data.value)
        """,
    "callbacks that call back": """
        step = CFUNCTYPE(c_int, c_int)
        def factorial(n): return 1 if n < 2 else n * callback(n - 1)
        callback = step(factorial)
        print(callback(12))
        """,
    "callbacks that raise": """
        import sys
        raised = []
        before, sys.unraisablehook = sys.unraisablehook, lambda told: raised.append(told.exc_value)
        def broken(n): raise ValueError(n)
        CFUNCTYPE(c_int, c_int)(broken)(3); print(raised)
        sys.unraisablehook = before
        """,
    "the C API": """
        pythonapi.PyLong_FromLong.restype, pythonapi.PyLong_FromLong.argtypes = py_object, [c_long]
        print(pythonapi.PyLong_FromLong(77), pythonapi.Py_IsInitialized())
        pythonapi.PyErr_SetString.argtypes = [py_object, c_char_p]
        try: pythonapi.PyErr_SetString(ValueError, b"from C")
        except ValueError as error: print(error)
        """,
    "what C forgives": """
        libc.srand(1); libc.free(libc.malloc(1) * 0)
        libc.time.argtypes = [c_void_p]
        print(libc.snprintf(create_string_buffer(9), 9, b"none"), libc.time(None) != 0)
        """,
    "what ctypes refuses itself": """
        for wrong in (lambda: libc.strlen(1.5), lambda: libc.no_such_name):
            try: wrong()
            except Exception as error: print(type(error).__name__)
        """,
}


def program(text):
    return BEGIN + "\n".join(line[8:] for line in text.strip("\n").splitlines())


def natively(source):
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        exec(compile(source, "native", "exec"), {})
    return written.getvalue()


@pytest.mark.parametrize("name", SAME)
def test_a_program_prints_what_it_prints_natively(guest, name):
    source = program(SAME[name])
    assert run(guest, source) == natively(source) != ""


def test_long_double_arguments_and_results(guest):
    assert run(guest, program("""
        libc.strtold.restype, libc.strtold.argtypes = c_longdouble, [c_char_p, c_void_p]
        text = create_string_buffer(50)
        libc.snprintf.argtypes = [c_char_p, c_size_t, c_char_p]
        libc.snprintf(text, 50, b"%d %.3Lf %d", c_int(1), c_longdouble(-2.5), c_int(2))
        print(libc.strtold(b"2.25", None), text.value)
        """)) == "2.25 b'1 -2.500 2'\n"  # fmt: skip


# ---- limits: W12 ------------------------------------------------------------------------------


class NothingCompiled:
    """
    Every way to make code, counted.
    """

    def __init__(self, monkeypatch):
        self.made = []
        for owner, name in (
            (wasmtime.Module, "__init__"),
            (wasmtime.Instance, "__init__"),
            (wasmtime.Module, "deserialize"),
            (wasmtime.Module, "deserialize_file"),
        ):
            monkeypatch.setattr(owner, name, self._note(name))

    def _note(self, name):
        return lambda *_given, **_named: self.made.append(name)


@pytest.fixture
def nothing_compiled(monkeypatch) -> Iterator[None]:
    watched = NothingCompiled(monkeypatch)
    wasmtime.Module.deserialize_file(None, "the control: this is seen")
    assert watched.made == ["deserialize_file"]
    yield
    assert watched.made == ["deserialize_file"]


def table_size(guest):
    return guest.exports.table("__indirect_function_table").size(guest._store)


def test_w12_closures_of_one_signature_end_at_their_limit_and_come_back(guest, nothing_compiled):
    run(guest, BEGIN + "CFUNCTYPE(c_int, c_int)(abs)(1)")
    size = table_size(guest)
    told = run(guest, program("""
        kind, kept = CFUNCTYPE(c_int, c_int), []
        for turn in range(2):
            try:
                for number in range(10**5): kept.append(kind(abs))
            except RuntimeError as error: print(len(kept), error)
            print(kept[-1](-3))
            kept.clear()
        """))  # fmt: skip
    assert (
        told
        == (
            "64 there are 64 callbacks of this type (i>i) already, which is all there can be: "
            "drop some before making another\n3\n"
        )
        * 2
    )
    assert table_size(guest) == size


def test_w12_closures_of_all_signatures_end_at_the_limit_of_all(guest, nothing_compiled):
    size = table_size(guest)
    told = run(guest, program("""
        import itertools
        kept = []
        def make():
            for count in range(13):
                for kinds in itertools.product((c_int, c_double, c_longlong), repeat=min(count, 4)):
                    for result in (None, c_int, c_double, c_longlong):
                        kind = CFUNCTYPE(result, *kinds, *[c_int] * (count - len(kinds)))
                        for number in range(80):
                            try: kept.append(kind(abs))
                            except RuntimeError: break
        try: make()
        except MemoryError as error: print(len(kept), repr(error))
        kept.clear()
        print(CFUNCTYPE(c_int, c_int)(abs)(-1))
        """))  # fmt: skip
    count = int(told.split()[0])
    # ctypes itself keeps a closure or two.
    assert CLOSURES_MAX - 8 <= count <= CLOSURES_MAX
    assert told == f"{count} MemoryError()\n1\n"
    assert table_size(guest) == size


def test_w12_a_hundred_thousand_signatures_are_refused_one_after_the_other(guest, nothing_compiled):
    assert run(guest, program("""
        import itertools
        kinds, refused = itertools.product((c_int, c_double, c_longlong, c_float), repeat=9), 0
        for one in itertools.islice(kinds, 2000, 102_000):
            try: CFUNCTYPE(c_float, *one)(abs)
            except RuntimeError: refused += 1
            if refused % 1000 == 0: reset()
        print(refused)
        """).replace("reset()", "__import__('ctypes')._c_functype_cache.clear()")) == "100000\n"  # fmt: skip


def test_w12_many_closures_one_after_the_other_are_no_problem(guest, nothing_compiled):
    assert run(guest, program("""
        kind = CFUNCTYPE(c_int, c_int)
        print(sum(kind(lambda given: given + 1)(number) for number in range(5000)))
        """)) == "12502500\n"  # fmt: skip


# ---- what ends the session --------------------------------------------------------------------

ENDED = {
    "wrong type": ("CFUNCTYPE(c_double, c_double)(cast(libc.strlen, c_void_p).value)(1.5)",
                   "indirect call type mismatch"),
    "wrong width": ("libc.llabs(5)", "indirect call type mismatch"),
    "outside the table": ("CFUNCTYPE(c_int)(10**7)()", "undefined element"),
    "a freed closure": (
        "f = CFUNCTYPE(c_int)(int); a = cast(f, c_void_p).value; del f; __import__('gc').collect(); CFUNCTYPE(c_int)(a)()",
        "uninitialized element",
    ),
    "a null pointer": ("CFUNCTYPE(c_int)(0)()", "uninitialized element"),
    "memory outside": ("string_at(2**32 - 8, 100)", "out of bounds"),
    "an exception that nobody catches": ("libc._Unwind_RaiseException(create_string_buffer(200))", "thrown Wasm exception"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDED)
def test_w10_w11_a_call_that_cannot_be_ends_the_session(doomed, name):
    source, told = ENDED[name]
    assert run(doomed, BEGIN + "print(libc.abs(-1))") == "1\n"
    with pytest.raises(GuestTrapped, match=told):
        run(doomed, BEGIN + source)


def test_callbacks_nested_to_the_limit_still_work(guest):
    depth = DEPTH_MAX - 4
    source = (
        f"k = CFUNCTYPE(c_int, c_int)\nc = k(lambda n: c(n + 1) if n < {depth} else n)\nprint(c(0))"
    )
    assert run(guest, BEGIN + source) == f"{depth}\n"


def test_w35_callbacks_nested_beyond_the_limit_are_a_recursion_error(guest):
    source = """
seen = []
def down(n):
    try:
        return c(n + 1)
    except RecursionError:
        seen.append(n)
        return 7
c = CFUNCTYPE(c_int, c_int)(down)
print(c(0), len(seen), 0 < seen[0] < 200, libc.abs(-1))
"""
    for _ in range(2):
        assert run(guest, BEGIN + source) == "7 1 True 1\n"


def test_an_exit_inside_a_callback_is_an_exit(doomed):
    with pytest.raises(Exited) as ended:
        run(doomed, BEGIN + "import os\nCFUNCTYPE(c_int)(lambda: os._exit(3))()")
    assert ended.value.code == 3


def test_host_calls_inside_a_callback_work(guest):
    assert run(guest, program("""
        import os, time
        def look():
            time.time(); print(len(os.urandom(4)), os.path.exists("/nowhere"))
            return 5
        print(CFUNCTYPE(c_int)(look)())
        """)) == "4 False\n5\n"  # fmt: skip


def test_an_image_boots_alike_with_closures(image, folder):
    first, second = (boot_with_closures(image, folder).digest() for _ in range(2))
    assert first == second
