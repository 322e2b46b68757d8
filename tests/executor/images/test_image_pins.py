import json
import re
from importlib import resources

import pytest

from executor.images import host, pins
from executor.images.errors import PinMismatchError, PlatformUnsupportedError
from executor.images.pins import load_pins, require_pin, sha256
from executor.images.pyodide import extract_trampoline

DATA = resources.files("executor.images")


def lock_packages() -> dict:
    return json.loads((DATA / "package-lock.json").read_text())["packages"]


@pytest.mark.parametrize("name", ["package-lock.json", "package.json", "pins.json"])
def test_no_address_is_in_what_npm_reads(name):
    text = (DATA / name).read_text()
    assert "://" not in text
    assert '"resolved"' not in text
    assert "git+" not in text


def test_no_address_is_in_the_shipped_wheel_lock():
    text = (DATA / "wheels.lock.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-", text.replace("    --hash", ""), re.MULTILINE)


def test_every_npm_package_is_locked_by_a_sha512():
    locked = {name: entry for name, entry in lock_packages().items() if name}
    assert {"node_modules/pyodide", "node_modules/binaryen"} <= locked.keys()
    for entry in locked.values():
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", entry["integrity"])
        assert "hasInstallScript" not in entry


def test_npm_and_the_pins_name_the_same_releases():
    versions = load_pins().versions
    declared = json.loads((DATA / "package.json").read_text())["dependencies"]
    assert declared == {name: versions[name] for name in ("binaryen", "pyodide")}
    for name in declared:
        assert lock_packages()[f"node_modules/{name}"]["version"] == versions[name]


def test_every_pin_is_a_sha256():
    loaded = load_pins()
    for digest in (*loaded.fetched.values(), *loaded.made.values()):
        assert re.fullmatch(r"[0-9a-f]{64}", digest)


def test_bytes_that_are_pinned_pass_and_others_do_not():
    require_pin("it", b"right", sha256(b"right"))
    with pytest.raises(PinMismatchError) as caught:
        require_pin("it", b"wrong", sha256(b"right"))
    assert sha256(b"wrong") in str(caught.value)
    assert sha256(b"right") in str(caught.value)


def test_another_wasmtime_than_the_pinned_one_is_refused(monkeypatch):
    pins.require_wasmtime()
    monkeypatch.setattr(pins, "installed_wasmtime", lambda: "49.0.0")
    with pytest.raises(PinMismatchError, match=r"wasmtime 49\.0\.0 is installed"):
        pins.require_wasmtime()


def script(*modules: str) -> bytes:
    return "".join(f'x=hexStringToUTF8Array("{text}");' for text in modules).encode()


def test_the_trampoline_is_taken_out_of_the_script():
    assert extract_trampoline(script("0061736d")) == b"\0asm"


@pytest.mark.parametrize("modules", [(), ("00", "01"), ("006",), ("00XX",)])
def test_a_script_without_exactly_one_whole_module_is_refused(modules):
    with pytest.raises(PinMismatchError, match="one whole one is expected"):
        extract_trampoline(script(*modules))


def test_this_machine_can_run_images():
    assert host.platform_problem() is None
    host.require_platform()


@pytest.mark.parametrize(
    ("target", "value", "said"),
    [
        ("sys.platform", "darwin", "darwin"),
        ("platform.machine", lambda: "aarch64", "aarch64"),
        ("sys.maxsize", 2**31 - 1, "32-bit"),
        ("os.confstr", lambda _name: None, "without glibc"),
    ],
)
def test_another_machine_is_refused_by_name(monkeypatch, target, value, said):
    monkeypatch.setattr(target, value)
    with pytest.raises(PlatformUnsupportedError, match=said):
        host.require_platform()


def test_the_processors_features_are_known_ones_and_sorted():
    features = host.code_features()
    assert list(features) == sorted(features)
    assert set(features) <= set(host._CODE_FLAGS)
    assert "popcnt" in features, "no processor of this decade is without it"
