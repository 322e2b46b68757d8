import json
import re
from importlib import resources

import pytest

from executor.images import host, pins
from executor.images.declaration import shipped_names
from executor.images.errors import PinMismatchError, PlatformUnsupportedError
from executor.images.guests import GUESTS, Origin
from executor.images.identity import this_runtime
from executor.images.pins import load_pins, require_pin, sha256
from executor.images.pyodide import extract_trampoline
from executor.wasm.target import TARGETS

DATA = resources.files("executor.images")
FROM_NPM = [kind.name for kind in GUESTS if kind.origin is Origin.NPM]


def lock_packages(guest: str) -> dict:
    return json.loads((DATA / "npm" / guest / "package-lock.json").read_text())["packages"]


@pytest.mark.parametrize("guest", FROM_NPM)
@pytest.mark.parametrize("name", ["package-lock.json", "package.json"])
def test_no_address_is_in_what_npm_reads(guest, name):
    text = (DATA / "npm" / guest / name).read_text()
    assert "://" not in text
    assert '"resolved"' not in text
    assert "git+" not in text


@pytest.mark.parametrize("image", shipped_names())
def test_no_address_is_in_a_shipped_lock(image):
    text = (DATA / "shipped" / f"{image}.lock.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-", text.replace("    --hash", ""), re.MULTILINE)


@pytest.mark.parametrize("guest", FROM_NPM)
def test_every_npm_package_is_locked_by_a_sha512(guest):
    locked = {name: entry for name, entry in lock_packages(guest).items() if name}
    assert {"node_modules/pyodide", "node_modules/binaryen"} <= locked.keys()
    for entry in locked.values():
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", entry["integrity"])
        assert "hasInstallScript" not in entry


@pytest.mark.parametrize("guest", FROM_NPM)
def test_npm_and_the_pins_name_the_same_releases(guest):
    versions = load_pins(guest).versions
    declared = json.loads((DATA / "npm" / guest / "package.json").read_text())["dependencies"]
    assert declared == {name: versions[name] for name in ("binaryen", "pyodide")}
    for name in declared:
        assert lock_packages(guest)[f"node_modules/{name}"]["version"] == versions[name]


@pytest.mark.parametrize("kind", GUESTS, ids=lambda kind: kind.name)
def test_every_guest_has_pins_and_every_pin_is_a_sha256(kind):
    loaded = load_pins(kind.name)
    assert loaded.versions["python"] == kind.python
    assert kind.script in loaded.fetched or kind.origin is Origin.WHEEL
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


def test_the_trampoline_of_an_older_release_is_a_list_of_numbers():
    assert extract_trampoline(b"const code=new Uint8Array([0,97,115,109]);") == b"\0asm"
    with pytest.raises(PinMismatchError, match="one whole one is expected"):
        extract_trampoline(b"const code=new Uint8Array([0,97,115,109,256]);")


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


def test_a_processor_below_the_lowest_level_is_refused(monkeypatch):
    monkeypatch.setattr(host, "processor_features", lambda: frozenset({"sse4_1"}))
    with pytest.raises(PlatformUnsupportedError, match="x86-64-v2"):
        host.require_platform()


def test_an_image_is_bound_to_the_processors_level_and_not_to_its_model():
    (level,) = this_runtime(GUESTS[0]).cpu
    assert level in {target.name for target in TARGETS}
