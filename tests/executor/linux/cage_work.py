"""
The work of an honest worker, in the form of `cage_acts.py`, and what stands in the way of a lock.

Every row of the worker's filter is needed by some act here.
"""

import array
import ctypes
import os
import resource
import select
import signal
import socket
import threading
import time

import wasmtime
from cage_acts import ACTS, KEPT, LIBC, PAGE, Round, a_file, act, address
from cage_range import World

from executor.linux import descriptors, seccomp
from executor.linux.filters import ALLOW, EPERM, Allow, Filter, OneOf, compile_filter
from executor.linux.libc import call

__all__ = ["ACTS"]


@act
def one_more_thread(world: World) -> Round:
    yield
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    return True


@act
def thread_that_is_seen_to_end(world: World) -> Round:
    """
    pthread_join returns when the kernel has ended the thread; Python's join returns before that.
    """
    held = ctypes.c_ulong()
    routine = ctypes.cast(LIBC.pthread_self, ctypes.c_void_p)
    yield
    started = LIBC.pthread_create(ctypes.byref(held), None, routine, None)
    return [started, LIBC.pthread_join(held, None)]


@act
def wait_for_a_lock(world: World) -> Round:
    """
    A lock that nobody gives back: the wait goes to the kernel, whoever is faster.
    """
    lock = threading.Lock()
    lock.acquire()
    yield
    return lock.acquire(timeout=0.001)


@act
def frames(world: World) -> Round:
    left, right = socket.socketpair()
    world.kept.update({left.fileno(), right.fileno()})
    waiting = select.poll()
    waiting.register(right, select.POLLIN)
    yield
    sent = left.send(b"frame")
    ready = waiting.poll(0)
    return [sent, len(ready), right.recv(3).decode(), right.recvmsg(2)[0].decode()]


@act
def received_file(world: World) -> Round:
    left, right = socket.socketpair()
    world.kept.add(right.fileno())
    descriptors.send_regular_file(left, b"file", a_file())
    yield
    data, file = descriptors.receive_regular_file(right, 16)
    assert file is not None
    head = os.read(file.descriptor, 4)
    at = os.lseek(file.descriptor, 0, os.SEEK_CUR)
    tail = os.pread(file.descriptor, 4, 9_998)
    os.close(file.descriptor)
    return [data.decode(), file.size, head.decode(), at, tail.decode()]


@act
def received_stream(world: World) -> Round:
    """
    The stream of a connection: its kind is named to Python, which would ask the kernel else.
    """
    left, right = socket.socketpair()
    world.kept.add(right.fileno())
    ours, theirs = socket.socketpair()
    world.kept.add(ours.fileno())
    descriptors.send_stream(left, b"stream", theirs.fileno())
    yield
    data, passed = descriptors.receive_passed(right, 16)
    assert isinstance(passed, descriptors.PassedStream)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=passed.descriptor)
    ours.send(b"hello")
    told = stream.recv(5, socket.MSG_DONTWAIT).decode()
    stream.shutdown(socket.SHUT_WR)
    return [data.decode(), told, len(ours.recv(1))]


@act
def two_received_files(world: World) -> Round:
    left, right = socket.socketpair()
    world.kept.add(right.fileno())
    passed = array.array("i", [a_file(), a_file()])
    left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    yield
    descriptors.receive_regular_file(right, 16)
    return "accepted"


@act
def standard_error(world: World) -> Round:
    yield
    return os.write(2, b"a fatal error\n") + os.write(1, b"more\n")


@act
def grow_memory(world: World) -> Round:
    reserved = call("mmap", 0, 2**32, 0, 0x4022, -1, 0)
    yield
    grown = call("mprotect", reserved, 2**20, 3)
    ctypes.memset(reserved, 7, 2**20)
    call("munmap", reserved, 2**32)
    return grown


@act
def grow_memory_past_the_limit(world: World) -> Round:
    reserved = call("mmap", 0, 2**32, 0, 0x4022, -1, 0)
    yield
    return call("mprotect", reserved, 256 * 2**20, 3)


@act
def map_past_the_limit(world: World) -> Round:
    yield
    return call("mmap", 0, 256 * 2**20, 3, 0x4022, -1, 0) > 0


@act
def allocate(world: World) -> Round:
    LIBC.malloc.restype = LIBC.realloc.restype = ctypes.c_void_p
    yield
    start = call("brk", 0)
    moved = call("brk", start + 2**20) - start
    block = LIBC.malloc(ctypes.c_size_t(2**24))
    block = LIBC.realloc(ctypes.c_void_p(block), ctypes.c_size_t(2**25))
    LIBC.free(ctypes.c_void_p(block))
    page = call("mmap", 0, PAGE, 3, 0x22, -1, 0)
    return [moved, call("mremap", page, PAGE, 2 * PAGE, 1) > 0]


@act
def give_pages_back(world: World) -> Round:
    place = call("mmap", 0, PAGE, 3, 0x22, -1, 0)
    yield
    ctypes.memset(place, 7, 1)
    call("madvise", place, PAGE, 4)
    return ctypes.c_char.from_address(place).value[0]


@act
def wasm(world: World) -> Round:
    """
    Arithmetic, a callback into Python, growth to a refusal, and each kind of trap, twice.
    """
    config = wasmtime.Config()
    config.parallel_compilation = False
    config.memory_may_move = False
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, WASM)
    hello = wasmtime.Func(store, wasmtime.FuncType([], [wasmtime.ValType.i32()]), lambda: 40)
    exports = wasmtime.Instance(store, module, [hello]).exports(store)
    memory = exports["memory"]

    def run(name: str, *arguments: int) -> object:
        try:
            return exports[name](store, *arguments)
        except wasmtime.Trap as trap:
            return trap.trap_code.name if trap.trap_code else "trap"

    yield
    before = memory.data_len(store)
    answers = [run("add", 2), run("grow", 1024), memory.data_len(store) - before]
    memory.write(store, b"guest", before)
    answers += [run("grow", 16384), run("grow", 2048)]
    for _ in range(2):
        answers += [run(name, 0) for name in ("load", "divide", "stop", "recurse")]
    return answers


WASM = """
(module
  (import "" "" (func $host (result i32)))
  (memory (export "memory") 1 65536)
  (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (call $host)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (i32.const -8)))
  (func (export "divide") (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
  (func (export "stop") (param i32) (result i32) unreachable)
  (func $recurse (export "recurse") (param i32) (result i32) (call $recurse (local.get 0))))
"""


@act
def watchdog(world: World) -> Round:
    """
    A thread waits for its timer and wakes the main thread, which sleeps and computes.
    """
    seen: list[int] = []
    woken = threading.Event()

    def wait() -> None:
        seen.append(signal.sigwait({signal.SIGALRM, signal.SIGRTMIN}))
        woken.set()

    yield
    thread = threading.Thread(target=wait)
    thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    woken.wait()
    thread.join()
    return seen


@act
def time_and_entropy(world: World) -> Round:
    yield
    time.sleep(0.0001)
    used = time.process_time() + time.thread_time()
    spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    clock = address(bytes(16))
    plain = [call("clock_gettime", which, clock) for which in (0, 1)]
    return [used > 0, spent >= 0, len(os.urandom(16)), call("getrandom", clock, 4, 1), plain]


@act
def abort(world: World) -> Round:
    yield
    os.abort()


@act
def fault_beside_the_guest(world: World) -> Round:
    """
    A fault of the host's code, where the engine has a handler for those of the guest's.
    """
    engine = wasmtime.Engine()
    wasmtime.Store(engine)
    yield
    return ctypes.string_at(0)


@act
def abort_without_a_signal(world: World) -> Round:
    """
    abort(3) below a filter of the zygote's, which knows another process id.
    """
    wasmtime.Store(wasmtime.Engine())
    row = Allow("tgkill", "the zygote's", (OneOf(0, (1,)),), otherwise=EPERM)
    seccomp.install(compile_filter(Filter("zygote", (row,), ALLOW), os.getpid()), tsync=True)
    yield
    os.abort()


@act
def stopped_while_waiting(world: World) -> Round:
    """
    The range stops and continues this process while it waits, then sends a byte.
    """
    waiting = select.poll()
    waiting.register(world.channel, select.POLLIN)
    yield
    return [len(waiting.poll(60_000)), world.channel.recv(1).decode()]


@act
def two_threads(world: World) -> Round:
    """
    The worker as it lives: the watchdog waits, the main thread reads its socket.
    """
    secret = os.open("/etc/passwd", os.O_RDONLY)
    assert secret not in world.kept
    yield
    watchdog = threading.Thread(target=signal.sigwait, args=({signal.SIGALRM},), daemon=True)
    watchdog.start()
    world.channel.send(b"+")
    return world.channel.recv(1).decode()


@act
def thread_before_the_lock(world: World) -> Round:
    threading.Thread(target=signal.sigwait, args=({signal.SIGRTMAX},), daemon=True).start()
    yield
    return "locked"


@act
def readable_is_executable(world: World) -> Round:
    call("personality", 0x0040_0000)
    yield
    return "locked"


@act
def keeps_a_closed_descriptor(world: World) -> Round:
    world.kept.add(999)
    yield
    return "locked"


@act
def code_that_is_shared(world: World) -> Round:
    call("mmap", 0, PAGE, 5, 0x21, -1, 0)
    yield
    return "locked"


@act
def callbacks_of_the_zygote(world: World) -> Round:
    """
    What ctypes has made for callbacks works under the lock, though nobody can write to it.
    """
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)
    KEPT.append(callback)
    yield
    return callback(41)


@act
def nothing(world: World) -> Round:
    yield
    return "locked"
