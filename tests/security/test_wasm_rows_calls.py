"""
W rows about single calls: each is made with the integers that a guest would pass, without a guest.

The table of calls is the real one, over a real linear memory; the engine's own rows run a small
module of wasm. What green does not prove: that libc passes on what these calls answer.
"""

import ctypes
import random
import re
import struct
import subprocess
import sys

import pytest
import wasmtime

from executor.wasm import engine
from executor.wasm.abi import DIRENT, Errno
from executor.wasm.imports import Failure, Support
from tests.executor.wasm.tiny_kernel import PAGE, ROWS, Kernel
from tests.executor.wasm.wasi_world import WasiKernel

# ---- W08: names at the end of memory ---------------------------------------------------------------

# The arguments before and after the name, for each call that takes one.
NAMED = {
    "_dlopen_js": ((), ()),
    "_dlsym_js": ((0,), (0,)),
    "getprotobyname": ((), ()),
    "_emscripten_lookup_name": ((), ()),
    "getaddrinfo": ((), (0, 0, PAGE // 2)),
    "getnameinfo": ((), (16, 0, 0, 0, 0, 0)),
    "_emscripten_system": ((), ()),
    "__syscall_stat64": ((), (PAGE // 2,)),
    "__syscall_chdir": ((), ()),
}
ENDS = {
    "unterminated": (PAGE - 4, b"abcd"),
    "behind": (PAGE, b""),
    "last address": (2**32 - 1, b""),
    "no UTF-8": (0x100, b"\xff\xfe\x80\0"),
    "a surrogate": (0x100, b"\xed\xa0\x80\0"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", NAMED)
def test_w08_a_name_that_is_none_is_refused_and_changes_nothing(name, end):
    kernel = Kernel()
    pointer, data = ENDS[end]
    kernel.tiny.guest.write(pointer, data) if data else None
    before, (first, last) = kernel.tiny.bytes(), NAMED[name]
    answer = kernel.call(name, *first, pointer, *last)
    assert kernel.tiny.bytes() == before
    row = ROWS[name]
    if row.failure is Failure.VALUE or row.support is Support.REFUSED:
        # Null, the row's own answer, or an error of getaddrinfo(3), which are negative.
        assert answer == row.value or answer <= 0
    elif data.endswith(b"\0"):
        assert answer < 0
    else:
        assert answer == -Errno.EFAULT
    assert not [ask for ask in kernel.gate.asked if "\0" in str(ask)]


def test_w08_a_name_with_its_end_is_read():
    kernel = Kernel()
    kernel.tiny.guest.write(PAGE - 5, b"/tmp\0")
    assert kernel.call("__syscall_chdir", PAGE - 5) == 0
    assert kernel.process.directory == "/tmp"


# ---- W09: JavaScript's way to files -----------------------------------------------------------------

BUFFERS = ("JsvBuffer_readFromFile", "JsvBuffer_intoFile", "JsvBuffer_writeToFile")


@pytest.mark.parametrize("name", BUFFERS)
def test_w09_no_descriptor_is_reached_through_a_buffer_of_javascript(name):
    """
    They answer "no JavaScript" and look at no descriptor, open or not.
    """
    kernel = Kernel()
    file = kernel.open("/work/f", 0o102)
    assert kernel.write(file, b"content") == 7
    before = kernel.tiny.bytes()
    for descriptor in range(1024):
        assert kernel.call(name, 0, descriptor) == 0
    assert kernel.tiny.bytes() == before
    assert kernel.notes == [(name, Errno.ENOSYS)] * 1024
    assert kernel.gate.asked == kernel.written == []
    assert kernel.seek(file, 0, 1) == 7
    assert kernel.seek(file, 0) == 0
    assert kernel.read(file, 20) == b"content"


# ---- W14: exceptions hoarded ------------------------------------------------------------------------

THROWING = """
(module
  (tag $t (param exnref))
  (func (export "run") (param $left i32) (param $hoard i32) (local $kept exnref)
    (loop $again
      (local.set $kept
        (block $caught (result exnref)
          (try_table (catch_all_ref $caught) (throw $t (local.get $kept)))
          (unreachable)))
      (if (i32.eqz (local.get $hoard)) (then (local.set $kept (ref.null exn))))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))))
"""
HEAP = 2**22
THROW = f"""
import resource, sys, wasmtime
from executor.wasm import engine
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
made = engine.new_engine()
store = engine.new_store(made, {HEAP})
run = wasmtime.Instance(store, wasmtime.Module(made, '''{THROWING}'''), []).exports(store)["run"]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    run(store, int(sys.argv[1]), int(sys.argv[2]))
    print("done")
except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
    print("ended:", str(error).splitlines()[-1])
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print("grown" if grown * 1024 > 8 * {HEAP} else "flat")
"""


def throw(count, *, hoard):
    ran = subprocess.run(
        [sys.executable, "-c", THROW, str(count), str(int(hoard))],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-2000:])
    return ran.stdout.splitlines()


def test_w14_exceptions_that_are_kept_meet_the_limit_of_the_heap_and_end_the_guest():
    told, memory = throw(10**7, hoard=True)
    assert told.startswith("ended:")
    assert re.search(r"memory|heap", told), told
    assert memory == "flat"


def test_w14_as_many_that_are_dropped_do_not():
    assert throw(10**6, hoard=False) == ["done", "flat"]


# ---- W23: large directories -------------------------------------------------------------------------


@pytest.fixture
def crowded():
    kernel = Kernel()
    directory = kernel.process.files.add_directory("/crowd", None)
    listed = []
    for number in range(20_000):
        kernel.process.files.add_image_file(f"/crowd/{number:05}", b"")
    real = directory.entries

    class Counting(dict):
        def items(self):
            listed.append(1)
            return super().items()

    directory.entries = Counting(real)
    return kernel, listed


@pytest.mark.parametrize("size", [0, 1, 279])
def test_w23_a_buffer_that_holds_no_entry_is_einval_before_anything_is_listed(crowded, size):
    kernel, listed = crowded
    directory = kernel.open("/crowd", 0o200000)
    for _ in range(100):
        assert kernel.call("__syscall_getdents64", directory, kernel.BUFFER, size) == -Errno.EINVAL
    assert listed == []


def test_w23_reading_entry_by_entry_lists_the_directory_once(crowded):
    kernel, listed = crowded
    directory = kernel.open("/crowd", 0o200000)
    size = DIRENT.size
    names = []
    while count := kernel.call("__syscall_getdents64", directory, kernel.BUFFER, size):
        assert count == size
        names.append(DIRENT.unpack(kernel.tiny.guest.read(kernel.BUFFER, size))[4].rstrip(b"\0"))
    assert len(names) == 20_002
    assert names == sorted(names)
    assert len(listed) == 1


def test_w23_preview_one_lists_a_large_directory_once_too():
    kernel = WasiKernel()
    kernel.process.files.add_directory("/crowd", None)
    for number in range(2000):
        kernel.process.files.add_image_file(f"/crowd/{number:05}", b"")
    directory = kernel.open_path("crowd", flags=2)
    # A buffer of one byte is filled with the beginning of a record, as preview 1 wants it.
    assert kernel.call("fd_readdir", directory, kernel.BUFFER, 1, 0, kernel.BUFFER + 64) == 0
    assert kernel.tiny.guest.u32(kernel.BUFFER + 64) == 1
    assert len(kernel.names(directory)) in {2000, 2002}


# ---- W36: memory that grows while the host copies ---------------------------------------------------


def test_w36_memory_that_grows_inside_a_host_call_moves_nothing_and_is_seen():
    kernel = Kernel()
    sent = random.Random(36).randbytes(1000)
    beyond = []

    def output(stream, data):
        kernel.tiny.grow(1)
        beyond.append(kernel.tiny.guest.read(PAGE * len(beyond) + PAGE, 8))
        kernel.written.append((stream, bytes(data)))

    kernel.process.output = output
    memory = kernel.tiny.guest
    memory.write(0x100, sent)
    memory.write(0, struct.pack("<4I", 0x100, 600, 0x100 + 600, 400))
    for _ in range(3):
        assert kernel.call("fd_write", 1, 0, 2, 0x80) == 0
        memory.check_base()
    assert b"".join(data for _, data in kernel.written) == sent * 3
    assert memory.size == PAGE * (1 + len(beyond))
    assert set(beyond) == {bytes(8)}


def test_w36_the_base_is_where_it_was_after_growth_to_the_limit():
    made = engine.new_engine()
    store = engine.new_store(made, 64 * PAGE)
    module = wasmtime.Module(made, '(module (memory (export "memory") 1 64))')
    memory = wasmtime.Instance(store, module, []).exports(store)["memory"]
    before = address(memory, store)
    memory.grow(store, 63)
    assert address(memory, store) == before
    assert memory.data_len(store) == 64 * PAGE
    with pytest.raises(wasmtime.WasmtimeError):
        memory.grow(store, 1)


def address(memory, store):
    return ctypes.addressof(memory.data_ptr(store).contents)
