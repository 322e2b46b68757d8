"""
Packages with native parts, in the images that are shipped: Rust, C and C++ in both of Pyodide's
binary interfaces.
"""

import pytest

from executor.images.bootable import parts
from executor.images.build import Order, build
from executor.images.declaration import load
from executor.wasm.boot import boot

PROGRAMS = {
    "pydantic-core": """
import pydantic_core as core
schema = {"type": "model-fields", "fields": {
    "x": {"type": "model-field", "schema": {"type": "int", "gt": 0}},
    "y": {"type": "model-field", "schema": {"type": "list", "items_schema": {"type": "str"}}},
}}
validator = core.SchemaValidator(schema)
assert validator.validate_python({"x": "3", "y": ["a"]})[0] == {"x": 3, "y": ["a"]}
assert validator.validate_json(b'{"x": 4, "y": []}')[0] == {"x": 4, "y": []}
try:
    validator.validate_python({"x": -1, "y": 5})
except core.ValidationError as error:
    kinds = [(part["type"], part["loc"]) for part in error.errors()]
assert kinds == [("greater_than", ("x",)), ("list_type", ("y",))], kinds
assert core.to_json({"a": [1, 2.5, None, True, "é"]}) == '{"a":[1,2.5,null,true,"é"]}'.encode()
assert core.from_json('[1, {"b": "c"}]') == [1, {"b": "c"}]
assert core.Url("https://example.com:8080/x?y=1").port == 8080
""",
    "pydantic": """
import datetime
from typing import Annotated, Literal, Union
import pydantic
class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, pydantic.Field(ge=0, le=9)] = 9
class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    born: datetime.date
class Home(pydantic.BaseModel):
    pet: Annotated[Union[Cat, Dog], pydantic.Field(discriminator="kind")]
home = Home.model_validate_json('{"pet": {"kind": "dog", "born": "2020-02-29"}}')
assert home.pet.born == datetime.date(2020, 2, 29)
assert Home.model_validate(home.model_dump()) == home
try:
    Home.model_validate({"pet": {"kind": "cat", "lives": 10}})
except pydantic.ValidationError as error:
    assert "less than or equal to 9" in str(error)
else:
    raise AssertionError
assert Home.model_json_schema()["required"] == ["pet"]
""",
    "msgspec": """
import datetime, msgspec
class User(msgspec.Struct):
    name: str
    groups: set[str] = set()
    email: str | None = None
user = User("alice", {"admin"}, "a@b.c")
for module in (msgspec.json, msgspec.msgpack):
    assert module.decode(module.encode(user), type=User) == user
try:
    msgspec.json.decode(b'{"name": 5}', type=User)
except msgspec.ValidationError as error:
    assert "Expected `str`, got `int`" in str(error)
else:
    raise AssertionError
assert msgspec.json.decode(b'"2020-01-02T03:04:05Z"', type=datetime.datetime).year == 2020
assert msgspec.convert({"name": "x"}, User).name == "x"
""",
    "jiter": """
import decimal, jiter
assert jiter.from_json(b'{"a": [1, 2.5, "x", null, true, 123456789012345678901234567890]}') == {
    "a": [1, 2.5, "x", None, True, 123456789012345678901234567890]}
assert jiter.from_json(b'[1, 2', partial_mode=True) in ([1], [1, 2])
assert jiter.from_json(b'1.1', float_mode="decimal") == decimal.Decimal("1.1")
try:
    jiter.from_json(b'{"a": }')
except ValueError as error:
    assert "line 1 column" in str(error)
else:
    raise AssertionError
""",
    "web": """
import bs4, h11, html5lib, httpx, markdown, openpyxl, pypdf, requests, xmltodict, io
assert bs4.BeautifulSoup("<p>a<b>c</b></p>", "html5lib").b.text == "c"
assert markdown.markdown("# x") == "<h1>x</h1>"
book = openpyxl.Workbook(); book.active["A1"] = 42
data = io.BytesIO(); book.save(data)
assert openpyxl.load_workbook(io.BytesIO(data.getvalue())).active["A1"].value == 42
assert xmltodict.parse("<a><b>1</b></a>") == {"a": {"b": "1"}}
request = requests.Request("GET", "https://example.com/x", params={"q": "a b"}).prepare()
assert request.url == "https://example.com/x?q=a+b"
assert httpx.URL("https://example.com/x").host == "example.com"
""",
}
PROGRAMS_313 = {
    "msgpack": """
import datetime, msgpack
from msgpack import _cmsgpack
assert msgpack.Packer is _cmsgpack.Packer
value = {"a": [1, -2, 2.5, None, True, "é", b"x" * 300], "t": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)}
assert msgpack.unpackb(msgpack.packb(value, datetime=True), timestamp=3) == value
try:
    msgpack.unpackb(b"\\xc1")
except msgpack.FormatError:
    pass
else:
    raise AssertionError
""",
    "simplejson": """
import decimal, simplejson
from simplejson import _speedups
assert simplejson.encoder.c_make_encoder is _speedups.make_encoder
text = simplejson.dumps({"a": decimal.Decimal("1.10"), "b": [1, None, "é"]})
assert text == '{"a": 1.10, "b": [1, null, "\\\\u00e9"]}', text
assert simplejson.loads(text, use_decimal=True)["a"] == decimal.Decimal("1.10")
""",
    "asyncio": """
import asyncio
async def one(n):
    await asyncio.sleep(0.001 * n); return n
assert await asyncio.gather(*(one(n) for n in range(5))) == [0, 1, 2, 3, 4]
assert asyncio.run(asyncio.wait_for(one(1), 5)) == 1
""",
    "ctypes": """
import ctypes
libc = ctypes.CDLL(None)
assert libc.strlen(b"four") == 4
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
values = (ctypes.c_int * 4)(3, 1, 4, 1)
libc.qsort(values, 4, 4, kind(lambda a, b: a[0] - b[0]))
assert list(values) == [1, 1, 3, 4]
""",
    "files": """
import os, pathlib, tempfile, time, select
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "a"
    path.write_text("x"); assert os.listdir(folder) == ["a"]
reader, writer = os.pipe()
assert select.select([reader], [writer], [], 0) == ([], [writer], [])
os.write(writer, b"x")
assert select.select([reader], [], [], 1) == ([reader], [], [])
time.sleep(0.001)
""",
}


def guest_of(name):
    """
    The shipped image `name` booted, built first where this machine has it not.
    """
    return boot(parts(build(Order(load(name)))))


@pytest.fixture(scope="module")
def web():
    return guest_of("web")


@pytest.fixture(scope="module")
def python313():
    return guest_of("python313")


def run(guest, code):
    answer = guest.call({"op": "cell", "cell": 1, "code": code})
    assert answer["status"] == "ok", answer.get("traceback")
    return answer


@pytest.mark.image
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_package_of_the_image_web_does_its_work(web, name):
    run(web, PROGRAMS[name])


@pytest.mark.image
@pytest.mark.parametrize("name", PROGRAMS_313)
def test_the_earlier_binary_interface_links_and_runs(python313, name):
    run(python313, PROGRAMS_313[name])


@pytest.mark.image
def test_each_image_has_the_python_that_it_declares(web, python313):
    asked = "import sys; '%d.%d' % sys.version_info[:2]"
    assert run(web, asked)["value"]["text"] == "'3.14'"
    assert run(python313, asked)["value"]["text"] == "'3.13'"


@pytest.mark.image
def test_a_module_of_another_image_is_refused_with_where_it_is(web):
    answer = web.call({"op": "cell", "cell": 1, "code": "import numpy"})
    assert answer["name"] == "ModuleNotFoundError"
    assert answer["message"] == (
        "No module named 'numpy': it is not in the image 'web' of this session; a session "
        'opened with image="data" or "pyodide-data" has it'
    )


@pytest.mark.image
def test_a_module_of_no_image_is_refused_as_python_does(web):
    answer = web.call({"op": "cell", "cell": 1, "code": "import no_such_module"})
    assert answer["message"] == "No module named 'no_such_module'"


@pytest.mark.image
def test_an_uncaught_exception_of_native_code_is_an_ordinary_one(web):
    code = "import msgspec; msgspec.json.decode(b'[' * 100_000)"
    assert web.call({"op": "cell", "cell": 1, "code": code})["name"] in {
        "DecodeError",
        "RecursionError",
    }
    run(web, "1")
