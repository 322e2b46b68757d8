"""
Where wheels come from: a directory, and Pyodide's distribution over a real HTTP server.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from crafted import NATIVE_TAG, CraftedWheel, native_wheel
from packaging.specifiers import SpecifierSet

from executor.images import locking
from executor.images.declaration import parse
from executor.images.directory import Directory
from executor.images.distribution import (
    Distribution,
    check_with_pyodide_lock,
    configured_base,
    read_entries,
)
from executor.images.errors import SourceRefusedError, WheelRefusedError
from executor.images.guests import DEFAULT, guest_kind
from executor.images.lock import LockedPackage
from executor.images.pins import sha256
from executor.images.process import ToolLimits
from executor.images.releases import Wanted
from executor.images.wheels import Sources, gather

ANY = SpecifierSet()


def no_tick() -> None:
    """
    Nothing to show.
    """


def wanted(name: str = "fine", versions: str = "") -> Wanted:
    return Wanted(name, SpecifierSet(versions))


@pytest.fixture
def shelf(tmp_path) -> Path:
    place = tmp_path / "shelf"
    place.mkdir()
    return place


def put(shelf: Path, wheel: CraftedWheel) -> LockedPackage:
    (shelf / wheel.filename).write_bytes(wheel.data())
    return wheel.package()


def test_a_directory_offers_the_newest_release_that_fits(shelf):
    for version in ("1.0", "1.10", "1.9"):
        put(shelf, CraftedWheel(version=version))
    place = Directory(shelf, DEFAULT)
    assert place.find(wanted(), no_tick).version == "1.10"
    assert place.find(wanted(versions="<1.10"), no_tick).version == "1.9"
    assert place.find(wanted(versions="==1.0"), no_tick).version == "1.0"
    assert place.find(wanted(versions=">2"), no_tick) is None
    assert place.find(wanted("other"), no_tick) is None


def test_of_one_release_a_directory_offers_the_wheel_for_the_guest(shelf):
    put(shelf, CraftedWheel())
    native = put(shelf, native_wheel())
    put(shelf, native_wheel(tag="cp313-cp313-pyemscripten_2025_0_wasm32"))
    found = Directory(shelf, DEFAULT).find(wanted(), no_tick)
    assert {found.sha256} == native.hashes
    older = Directory(shelf, guest_kind("pyodide-3.13")).find(wanted(), no_tick)
    assert older.sha256 not in native.hashes


def test_a_directory_gives_a_wheel_by_its_hash_alone(shelf):
    wheel = CraftedWheel()
    package = put(shelf, wheel)
    assert Directory(shelf, DEFAULT).take(package, no_tick) == wheel.data()
    path = shelf / wheel.filename
    path.write_bytes(wheel.data() + b"\0")
    assert Directory(shelf, DEFAULT).take(package, no_tick) is None


def test_a_hostile_wheel_in_a_directory_is_not_offered(shelf):
    put(shelf, CraftedWheel(members=[("evil.pth", b"import os\n")]))
    with pytest.raises(WheelRefusedError, match=r"evil\.pth"):
        Directory(shelf, DEFAULT).find(wanted(), no_tick)


def test_what_is_not_named_as_a_wheel_is_passed_over(shelf):
    for name in ("fine-1.0.tar.gz", "fine.whl", "fine-1.0-x.whl", "-1.0-py3-none-any.whl"):
        (shelf / name).write_bytes(b"anything")
    assert Directory(shelf, DEFAULT).find(wanted(), no_tick) is None


def test_a_directory_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceRefusedError, match="absent"):
        Directory(tmp_path / "absent", DEFAULT).find(wanted(), no_tick)


def test_an_image_is_gathered_from_a_directory_without_pip_or_a_network(cache, shelf, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    package = put(shelf, native_wheel())
    sources = Sources((Directory(shelf, DEFAULT),))
    assert len(gather(cache, (package,), sources, no_tick)[0].content.natives) == 1
    (shelf / native_wheel().filename).unlink()
    other = LockedPackage("fine", "1.0", frozenset({"0" * 64}), frozenset())
    with pytest.raises(WheelRefusedError, match="No source of the image has the wheel of fine"):
        gather(cache, (other,), sources, no_tick)


# ---- Pyodide's distribution ---------------------------------------------------------------------


def entry(wheel: CraftedWheel, **changes: object) -> dict[str, object]:
    return {
        "name": wheel.name,
        "version": wheel.version,
        "file_name": wheel.filename,
        "install_dir": "site",
        "sha256": sha256(wheel.data()),
        "package_type": "package",
        "imports": [wheel.name],
        "depends": [],
        "unvendored_tests": False,
    } | changes


def lock_file(*entries: dict[str, object], abi: str = "2026_0") -> bytes:
    info = {
        "abi_version": abi,
        "arch": "wasm32",
        "platform": "emscripten_5_0_3",
        "python": "3.14.2",
    }
    return json.dumps({"info": info, "packages": {e["name"]: e for e in entries}}).encode()


def entries(*given: dict[str, object], abi: str = "2026_0"):
    return read_entries(lock_file(*given, abi=abi), DEFAULT, "pyodide-lock.json")


@pytest.fixture
def served(shelf) -> Iterator[str]:
    """
    The directory over HTTP on loopback, at an address with a path.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/full/")
            path = shelf / name
            if name == "elsewhere.whl":
                self.send_response(302)
                self.send_header("Location", (shelf / "fine.whl").as_uri())
                self.end_headers()
                return
            self.send_response(200 if path.is_file() else 404)
            self.end_headers()
            if path.is_file():
                self.wfile.write(path.read_bytes())

        def log_message(self, *_: object) -> None:
            """
            In silence.
            """

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/full"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_wheel_is_fetched_from_the_address_that_is_configured(cache, shelf, served):
    wheel = native_wheel()
    package = put(shelf, wheel)
    place = Distribution(entries(entry(wheel)), configured_base(served))
    assert place.find(wanted(), no_tick).sha256 in package.hashes
    assert place.imports(package) == ("fine",)
    got = gather(cache, (package,), Sources((place,)), no_tick)
    assert got[0].sha256 in package.hashes


def test_without_an_address_the_error_says_what_to_set(monkeypatch):
    monkeypatch.delenv("CODECAGE_PYODIDE_BASE", raising=False)
    wheel = CraftedWheel()
    place = Distribution(entries(entry(wheel)), configured_base(None))
    with pytest.raises(SourceRefusedError, match="Set CODECAGE_PYODIDE_BASE"):
        place.take(wheel.package(), no_tick)


def test_another_wheel_than_the_locked_one_is_refused(shelf, served):
    wheel = CraftedWheel()
    (shelf / wheel.filename).write_bytes(wheel.data() + b"\0")
    place = Distribution(entries(entry(wheel)), configured_base(served))
    with pytest.raises(SourceRefusedError, match="Nothing was kept"):
        place.take(wheel.package(), no_tick)


def test_a_wheel_that_the_server_has_not_is_an_error_with_its_address(served):
    wheel = CraftedWheel()
    place = Distribution(entries(entry(wheel)), configured_base(served))
    with pytest.raises(SourceRefusedError, match=r"fine-1\.0-py3-none-any\.whl could not be"):
        place.take(wheel.package(), no_tick)


def test_a_server_cannot_send_us_to_a_file_of_this_machine(shelf, served):
    """
    The file is there and has the locked bytes: without the rule it would be taken.
    """
    wheel = CraftedWheel()
    (shelf / "fine.whl").write_bytes(wheel.data())
    place = Distribution(entries(entry(wheel, file_name="elsewhere.whl")), configured_base(served))
    with pytest.raises(SourceRefusedError, match="could not be fetched"):
        place.take(wheel.package(), no_tick)


@pytest.fixture(params=["body", "headers"])
def dripping(request) -> Iterator[str]:
    """
    A server that gives a byte, and another, and never comes to an end.
    """
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if request.param == "body":
                self.end_headers()
            else:
                self.flush_headers()
            while not over.wait(0.02):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            """
            In silence.
            """

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_drips_is_left_when_the_time_is_up(dripping):
    wheel = CraftedWheel()
    limits = ToolLimits(wall_seconds=1)
    place = Distribution(entries(entry(wheel)), configured_base(dripping), limits)
    ticks: list[None] = []
    with pytest.raises(SourceRefusedError, match="was stopped after 1 s, the time it may take"):
        place.take(wheel.package(), lambda: ticks.append(None))
    assert ticks


def test_a_server_that_gives_more_than_a_wheel_may_have_is_left(shelf, served):
    wheel = CraftedWheel()
    (shelf / wheel.filename).write_bytes(bytes(2**16))
    limits = ToolLimits(file=2**15)
    place = Distribution(entries(entry(wheel)), configured_base(served), limits)
    with pytest.raises(SourceRefusedError, match="could not be fetched"):
        place.take(wheel.package(), no_tick)


def test_a_wheel_of_another_hash_is_not_the_distributions():
    wheel = CraftedWheel()
    place = Distribution(entries(entry(wheel)), None)
    other = LockedPackage("fine", "1.0", frozenset({"0" * 64}), frozenset())
    assert place.take(other, no_tick) is None
    assert place.imports(other) == ()


@pytest.mark.parametrize(
    "base",
    [
        "file:///wheels",
        "ftp://example.invalid/",
        "/wheels",
        "http://",
        "http://a/?x",
        "https://a/#x",
        "http://[::1/",
        "http://a:port/",
    ],
)
def test_an_address_that_is_no_web_directory_is_refused(base):
    with pytest.raises(SourceRefusedError, match="cannot be used"):
        configured_base(base)


@pytest.mark.parametrize(
    "base",
    ["http://me:hunter2@a.invalid/", "https://hunter2@a.invalid/x", "http://me:hunter2@[::1/"],
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(base):
    with pytest.raises(SourceRefusedError, match="holds a user or a password") as caught:
        configured_base(base)
    assert "hunter2" not in str(caught.value)


def test_an_at_sign_in_the_path_is_no_secret():
    assert configured_base("http://a.invalid/x@1") == "http://a.invalid/x@1/"


def test_the_option_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("CODECAGE_PYODIDE_BASE", "http://a.invalid/x")
    assert configured_base(None) == "http://a.invalid/x/"
    assert configured_base("http://b.invalid/y/") == "http://b.invalid/y/"


@pytest.mark.parametrize(
    "changes",
    [
        {"file_name": "../fine-1.0-py3-none-any.whl"},
        {"file_name": "http://example.invalid/fine-1.0-py3-none-any.whl"},
        {"file_name": "/fine-1.0-py3-none-any.whl"},
        {"file_name": "fine-1.0-py3-none-any.whl?x"},
        {"file_name": 5},
        {"sha256": ""},
        {"sha256": "md5"},
        {"name": "../x"},
        {"depends": None},
    ],
)
def test_an_entry_of_a_lock_that_names_anything_but_a_hashed_file_is_refused(changes):
    assert entries(entry(CraftedWheel()))
    with pytest.raises(SourceRefusedError, match=r"pyodide-lock\.json is not"):
        entries(entry(CraftedWheel(), **changes))


def test_what_is_no_wheel_is_left_out():
    tests = entry(CraftedWheel(), name="fine-tests", file_name="fine-tests.zip")
    assert list(entries(entry(CraftedWheel()), tests)) == ["fine"]


def test_a_lock_of_another_binary_interface_is_refused():
    with pytest.raises(SourceRefusedError, match="'2025_0', and pyodide-3.14 needs '2026_0'"):
        entries(entry(CraftedWheel()), abi="2025_0")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"info": {"abi_version": "2026_0"}}'])
def test_a_lock_of_another_form_is_refused(text):
    with pytest.raises(SourceRefusedError):
        read_entries(text, DEFAULT, "pyodide-lock.json")


def test_pyodide_lock_itself_checks_a_lock_where_it_is_installed():
    pytest.importorskip("pyodide_lock")
    wheel = native_wheel()
    assert NATIVE_TAG in wheel.filename
    assert check_with_pyodide_lock(lock_file(entry(wheel)), "x")
    with pytest.raises(SourceRefusedError, match="pyodide-lock refuses"):
        check_with_pyodide_lock(lock_file(entry(wheel, version="2.0")), "x")


def test_an_extended_lock_of_the_users_own_is_locked_and_fetched(
    cache, shelf, served, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    own, helper = native_wheel(), CraftedWheel("helper", members=[("helper.py", b"")])
    time_zones = CraftedWheel("tzdata", members=[("tzdata/__init__.py", b"")])
    for wheel in (own, helper, time_zones):
        put(shelf, wheel)
    extended = lock_file(entry(own, depends=["helper"]), entry(helper), entry(time_zones))
    (tmp_path / "extended-lock.json").write_bytes(extended)
    declaration = parse(
        "version: 1\nname: mine\ndescription: Own.\npackages: [fine]\n"
        "sources: [pyodide: extended-lock.json]\n",
        tmp_path / "mine.yaml",
    )
    told = locking.lock(declaration)
    fetched = locking.lock(declaration, configured_base(served))
    assert (told.unchecked, fetched.unchecked) == (("fine", "helper", "tzdata"), ())
    assert told.text == fetched.text
    assert told.modules == fetched.modules == ("fine", "helper", "tzdata")
    assert [one.via for one in fetched.packages] == [set(), {"fine"}, set()]
