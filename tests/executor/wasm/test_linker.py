"""
Linking side modules: symbols, relocations, exceptions across modules, and what is refused.

The guest loads the modules through its own libc (`ctypes.CDLL` opens, `_dlsym_js` finds), or by
an import, where CPython looks for the `PyInit_` function.
"""

import dataclasses

import pytest
import wasmtime

from executor.images.bootable import parts
from executor.wasm.boot import boot
from tests.executor.wasm.side_modules import compiled, module

ROOT = "/lib/python3.14/site-packages"

# Two modules that are needed by others: one has data and functions, one throws.
LIBRARY = module(
    """
  (import "env" "malloc" (func $malloc (param i32) (result i32)))
  (global (export "seven") i32 (i32.const 16))
  (global (export "pointer") i32 (i32.const 32))
  (func (export "twice") (param i32) (result i32) (i32.add (local.get 0) (local.get 0)))
  (func (export "__wasm_apply_data_relocs")
    (i32.store (i32.add (global.get $memory) (i32.const 32))
               (i32.add (global.get $memory) (i32.const 16))))
  (func (export "__wasm_call_ctors")
    (i32.store (i32.add (global.get $memory) (i32.const 40)) (i32.const 1)))
  (func (export "constructed") (result i32)
    (i32.load (i32.add (global.get $memory) (i32.const 40))))
  (func (export "allocates") (result i32) (call $malloc (i32.const 100)))
  (data (offset (i32.add (global.get $memory) (i32.const 16))) "\\07\\00\\00\\00")
"""
)
THROWS = module(
    """
  (import "env" "__cpp_exception" (tag $thrown (param i32)))
  (import "env" "__c_longjmp" (tag $jump (param i32)))
  (func (export "throws") (param i32) (throw $thrown (local.get 0)))
  (func (export "jumps") (param i32) (throw $jump (local.get 0)))
"""
)
CATCHES = module(
    """
  (import "env" "throws" (func $throws (param i32)))
  (import "env" "jumps" (func $jumps (param i32)))
  (import "env" "__cpp_exception" (tag $thrown (param i32)))
  (import "env" "__c_longjmp" (tag $jump (param i32)))
  (func (export "caught") (param i32) (result i32)
    (block $out (result i32)
      (try_table (catch $thrown $out) (call $throws (local.get 0)))
      (i32.const -1)))
  (func (export "landed") (param i32) (result i32)
    (block $out (result i32)
      (try_table (catch $jump $out) (call $jumps (local.get 0)))
      (i32.const -1)))
""",
    needed=("libthrows.so",),
)
USES = module(
    """
  (import "env" "twice" (func $twice (param i32) (result i32)))
  (import "GOT.mem" "seven" (global $seven (mut i32)))
  (import "GOT.func" "twice" (global $address (mut i32)))
  (import "GOT.func" "absent" (global $absent (mut i32)))
  (import "GOT.func" "malloc" (global $malloc (mut i32)))
  (type $unary (func (param i32) (result i32)))
  (func (export "fourteen") (result i32) (call $twice (i32.load (global.get $seven))))
  (func (export "by_pointer") (param i32) (result i32)
    (call_indirect $table (type $unary) (local.get 0) (global.get $address)))
  (func (export "absent") (result i32) (i32.const 1))
  (func (export "weak") (result i32) (global.get $absent))
  (func (export "malloc_by_pointer") (result i32)
    (call_indirect $table (type $unary) (i32.const 8) (global.get $malloc)))
""",
    needed=("liblibrary.so",),
)
LATE = module(
    """
  (import "env" "own" (func $own (param i32 f64) (result f64)))
  (import "env" "nowhere" (func $nowhere (param i32)))
  (import "GOT.func" "missing" (global $missing (mut i32)))
  (func (export "own") (param i32 f64) (result f64)
    (f64.add (local.get 1) (f64.convert_i32_s (local.get 0))))
  (func (export "through") (result i32)
    (i32.trunc_f64_s (call $own (i32.const 40) (f64.const 2))))
  (func (export "missing_address") (result i32) (global.get $missing))
  (func (export "calls_nowhere") (call $nowhere (i32.const 1)))
""",
    weak=("missing", "nowhere"),
)
WANTS = module(
    """
  (import "GOT.func" "nobody" (global $nobody (mut i32)))
"""
)
WRONG = module(
    """
  (import "env" "malloc" (func $malloc (param i64) (result i64)))
"""
)
SITE = {
    "pack/liblibrary.so": LIBRARY,
    "pack/libthrows.so": THROWS,
    "pack/catches.so": CATCHES,
    "pack/uses.so": USES,
    "pack/late.so": LATE,
    "pack/wants.so": WANTS,
    "pack/wrong.so": WRONG,
    "pack/orphan.so": module("", needed=("libgone.so",)),
    "pack/egg.so": module("", needed=("hen.so",)),
    "pack/hen.so": module("", needed=("egg.so",)),
}


@pytest.fixture(scope="module")
def loaded(image, tmp_path_factory):
    """
    A guest whose image has the modules.
    """
    folder = tmp_path_factory.mktemp("native")
    given = parts(image)
    native = compiled(folder, SITE, late=("own", "nowhere"))
    files = {**given.site_packages, **dict.fromkeys(SITE, b"")}
    return boot(dataclasses.replace(given, site_packages=files, native=native))


class Opened:
    """
    A library opened as libc opens it: a struct in guest memory with its name.
    """

    def __init__(self, guest, path, *, everywhere=False):
        self.guest = guest
        exports = guest.exports
        name = path.encode() + b"\0"
        self.handle = exports.function("calloc")(64 + len(name), 1)
        guest.memory.put_u32(self.handle + 4, 256 if everywhere else 0)
        guest.memory.write(self.handle + 36, name)
        self.opened = guest.linkage.handler("_dlopen_js")(self.handle)
        self.error = "" if self.opened else self._told()

    def address(self, name):
        text = self.guest.exports.function("calloc")(len(name) + 1, 1)
        self.guest.memory.write(text, name.encode())
        return self.guest.linkage.handler("_dlsym_js")(self.handle, text, 0)

    def call(self, name, *arguments):
        library = self.guest.process.native._handles[self.handle]
        value = library.exports.function(name)(*arguments)
        return value - 2**32 if value >> 31 else value

    def _told(self):
        pointer = self.guest.exports.function("dlerror")()
        return self.guest.memory.string(pointer).decode() if pointer else ""


def pack(name):
    return f"{ROOT}/pack/{name}"


def test_data_is_relocated_and_constructed_before_the_library_is_used(loaded):
    library = Opened(loaded, pack("liblibrary.so"))
    assert library.opened == 1
    memory = loaded.memory
    assert memory.u32(library.address("seven")) == 7
    assert memory.u32(library.address("pointer")) == library.address("seven")
    assert library.call("constructed") == 1
    assert library.call("allocates") > 0


def test_functions_and_data_of_a_needed_library_are_found(loaded):
    uses = Opened(loaded, pack("uses.so"))
    assert uses.opened == 1
    assert uses.call("fourteen") == 14
    assert uses.call("by_pointer", 21) == 42


def test_a_function_has_one_address_whoever_asks(loaded):
    library, uses = Opened(loaded, pack("liblibrary.so")), Opened(loaded, pack("uses.so"))
    entries = loaded.process.native._entries
    address = entries["twice"].word.value(loaded._store)
    assert library.address("twice") == address
    assert library.address("twice") == address
    # One of the main module is where its own table has it.
    assert uses.call("malloc_by_pointer") > 0
    assert entries["malloc"].word.value(loaded._store) < loaded.process.native.trampoline


def test_a_symbol_of_the_module_itself_completes_its_own_table_entry(loaded):
    uses = Opened(loaded, pack("uses.so"))
    assert uses.call("weak") == uses.address("absent")


def test_a_thrown_exception_is_caught_in_another_module(loaded):
    catches = Opened(loaded, pack("catches.so"))
    assert catches.opened == 1
    assert catches.call("caught", 123) == 123


def test_a_longjmp_lands_in_another_module(loaded):
    assert Opened(loaded, pack("catches.so")).call("landed", 77) == 77


def test_a_function_that_the_module_defines_itself_is_bound_late(loaded):
    late = Opened(loaded, pack("late.so"))
    assert late.opened == 1
    assert late.call("through") == 42


def test_a_weak_import_that_nothing_has_is_null(loaded):
    late = Opened(loaded, pack("late.so"))
    assert late.call("missing_address") == 0


def test_calling_a_weak_function_that_nothing_has_is_a_trap(image, tmp_path):
    given = parts(image)
    native = compiled(tmp_path, {"late.so": LATE}, late=("own", "nowhere"))
    files = {**given.site_packages, "late.so": b""}
    guest = boot(dataclasses.replace(given, site_packages=files, native=native))
    late = Opened(guest, f"{ROOT}/late.so")
    with pytest.raises(Exception, match="uninitialized element"):
        late.call("calls_nowhere")


def test_a_library_opened_as_global_serves_those_that_do_not_name_it(image, tmp_path):
    user = module(
        """
  (import "env" "twice" (func $twice (param i32) (result i32)))
  (func (export "six") (result i32) (call $twice (i32.const 3)))
"""
    )
    given = parts(image)
    site = {"user.so": user, "library.so": LIBRARY}
    files = {**given.site_packages, **dict.fromkeys(site, b"")}
    native = compiled(tmp_path, site)
    guest = boot(dataclasses.replace(given, site_packages=files, native=native))
    assert Opened(guest, f"{ROOT}/user.so").opened == 0
    assert Opened(guest, f"{ROOT}/library.so").opened == 1
    assert Opened(guest, f"{ROOT}/user.so").opened == 0, "it was opened for itself alone"
    assert Opened(guest, f"{ROOT}/library.so", everywhere=True).opened == 1
    opened = Opened(guest, f"{ROOT}/user.so")
    assert opened.opened == 1
    assert opened.call("six") == 6


def test_the_main_program_can_be_opened_and_searched(loaded):
    main = Opened(loaded, "__main__")
    assert main.opened == 1
    assert main.address("PyLong_FromLong") > 0
    assert main.address("no_such_function") == 0
    assert "no_such_function" in main._told()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wants.so", "needs the symbol nobody"),
        ("wrong.so", "does not fit its image"),
        ("orphan.so", "needs libgone.so, of which the image has 0"),
        ("egg.so", "needs itself, through"),
    ],
)
def test_a_module_that_cannot_be_linked_says_why(loaded, name, said):
    library = Opened(loaded, pack(name))
    assert library.opened == 0
    assert said in library.error


@pytest.mark.parametrize("name", ["wants.so", "wrong.so"])
def test_a_module_that_failed_is_never_handed_out_and_takes_nothing_more(loaded, name):
    first = Opened(loaded, pack(name))
    table = loaded._table.size(loaded._store)
    memory = loaded.memory.size
    for _ in range(20):
        again = Opened(loaded, pack(name))
        assert (again.opened, again.error) == (0, first.error)
    assert (loaded._table.size(loaded._store), loaded.memory.size) == (table, memory)
    assert Opened(loaded, pack("liblibrary.so")).opened == 1


def test_w13_a_module_that_the_guest_wrote_never_reaches_the_compiler(loaded, monkeypatch):
    compiled_now = []
    original = wasmtime.Module.__init__

    def counted(self, *arguments):
        compiled_now.append(arguments)
        original(self, *arguments)

    monkeypatch.setattr(wasmtime.Module, "__init__", counted)
    assert wasmtime.Module(loaded._engine, "(module)")
    assert len(compiled_now) == 1, "the counter counts"
    code = f"open('/work/evil.so', 'wb').write({LIBRARY!r})"
    assert loaded.call({"op": "cell", "cell": 1, "code": code})["status"] == "ok"
    refused = Opened(loaded, "/work/evil.so")
    assert refused.opened == 0
    assert "unpinned_module: /work/evil.so is not part of the image" in refused.error
    answer = loaded.call(
        {
            "op": "cell",
            "cell": 2,
            "code": "import importlib.util as u, importlib.machinery as m\n"
            "l = m.ExtensionFileLoader('evil', '/work/evil.so')\n"
            "u.module_from_spec(u.spec_from_file_location('evil', '/work/evil.so', loader=l))",
        }
    )
    assert answer["name"] == "ImportError"
    assert "unpinned_module" in answer["message"]
    assert len(compiled_now) == 1


def test_w13_twin_a_module_of_the_image_loads_by_any_name_that_leads_to_it(loaded):
    code = f"import os; os.symlink({pack('liblibrary.so')!r}, '/work/named.so')"
    loaded.call({"op": "cell", "cell": 1, "code": code})
    assert Opened(loaded, "/work/named.so").opened == 1


def test_a_copy_of_a_pinned_module_is_refused_as_any_other_file_is(loaded):
    code = f"import shutil; shutil.copy({pack('liblibrary.so')!r}, '/work/copy.so')"
    loaded.call({"op": "cell", "cell": 1, "code": code})
    assert Opened(loaded, "/work/copy.so").opened == 0


def test_hostile_handles_are_refused_and_end_nothing(loaded):
    handler = loaded.linkage.handler
    size = loaded.memory.size
    for handle in (0, 1, size - 4, size, 2**31, 2**32 - 1, 2**32 - 40):
        assert handler("_dlopen_js")(handle) == 0
        assert handler("_dlsym_js")(handle, handle, handle) == 0
    assert loaded.call({"op": "cell", "cell": 1, "code": "1"})["status"] == "ok"
