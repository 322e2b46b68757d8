"""
System calls on the process and its surroundings: clocks, entropy, environment, memory, exit.
"""

import calendar
from datetime import UTC, datetime

from executor.wasm.abi import TM, Errno, GuestFault, signed, signed64
from executor.wasm.memory import TRANSFER_MAX
from executor.wasm.process import Exited, Process

_PAGE = 65_536
_REALTIME, _MONOTONIC, _PROCESS_CPU, _THREAD_CPU = range(4)
# Years 1 to 9999: what datetime holds; beyond, the guest's libc gets EOVERFLOW.
_TIME_MIN, _TIME_MAX = -62_135_596_800, 253_402_300_799


# ---- time -----------------------------------------------------------------------------------


def clock_time_get(process: Process, clock: int, _precision: int, result: int) -> int:
    """
    A clock's time in nanoseconds, floored to a millisecond: clock_gettime(2).
    """
    process.memory.put_u64(result, _clock(process, clock))
    return 0


def clock_res_get(process: Process, clock: int, result: int) -> int:
    """
    A clock's step: clock_getres(2).
    """
    _clock(process, clock)
    process.memory.put_u64(result, process.clock.resolution_ns)
    return 0


def _clock(process: Process, clock: int) -> int:
    if clock == _REALTIME:
        return process.clock.wall_ns()
    if clock == _MONOTONIC:
        return process.clock.monotonic_ns()
    if clock in {_PROCESS_CPU, _THREAD_CPU}:
        return process.clock.cpu_ns()
    raise GuestFault(Errno.EINVAL)


def date_now(process: Process) -> float:
    """
    Milliseconds since 1970.
    """
    return process.clock.wall_ns() / 1e6


def get_now(process: Process) -> float:
    """
    Milliseconds since the session began.
    """
    return process.clock.monotonic_ns() / 1e6


def gmtime(process: Process, seconds: int, result: int) -> None:
    """
    Break a time down, in UTC: gmtime(3). Out of range it leaves year 1970.
    """
    _put_tm(process, signed64(seconds), result)


def localtime(process: Process, seconds: int, result: int) -> None:
    """
    The same: the guest's local time is UTC, whatever the host's is. localtime(3).
    """
    _put_tm(process, signed64(seconds), result)


def _put_tm(process: Process, seconds: int, result: int) -> None:
    if not _TIME_MIN <= seconds <= _TIME_MAX:
        seconds = 0
    day = datetime.fromtimestamp(0, UTC).toordinal() + seconds // 86400
    date = datetime.fromordinal(day)
    rest = seconds % 86400
    fields = (rest % 60, rest // 60 % 60, rest // 3600, date.day, date.month - 1)
    weekday, year_day = date.isoweekday() % 7, date.timetuple().tm_yday - 1
    data = TM.pack(*fields, date.year - 1900, weekday, year_day, 0, 0)
    process.memory.write(result, data)


def timegm(process: Process, pointer: int) -> int:
    """
    Seconds since 1970 of a broken-down time in UTC, which is normalised in place: timegm(3).
    """
    fields = TM.unpack(process.memory.read(pointer, TM.size))
    second, minute, hour, day, month, year = fields[:6]
    years, month = divmod(month, 12)
    year += years + 1900
    if not 1 <= year <= 9999:
        return -1
    days = int(calendar.timegm((year, month + 1, 1, 0, 0, 0))) + (day - 1) * 86400
    seconds: int = days + hour * 3600 + minute * 60 + second
    if not _TIME_MIN <= seconds <= _TIME_MAX:
        return -1
    _put_tm(process, seconds, pointer)
    return seconds


def mktime(process: Process, pointer: int) -> int:
    """
    The same: local time is UTC. mktime(3).
    """
    return timegm(process, pointer)


def tzset(process: Process, zone: int, daylight: int, standard: int, summer: int) -> None:
    """
    The zone is UTC: tzset(3). Named zones are Python's zoneinfo's business.
    """
    for pointer in (zone, daylight, standard, summer):
        process.memory.span(pointer, 4)
    process.memory.put_u32(zone, 0)
    process.memory.put_u32(daylight, 0)
    process.memory.write(standard, b"UTC\0")
    process.memory.write(summer, b"UTC\0")


# ---- entropy and environment ------------------------------------------------------------------


def random_get(process: Process, buffer: int, length: int) -> int:
    """
    Fill with random bytes, a piece at a time: getrandom(2). More than 1 MiB at once is EINVAL.
    """
    process.memory.span(buffer, length)
    if length > TRANSFER_MAX:
        raise GuestFault(Errno.EINVAL)
    process.memory.write(buffer, process.random(length))
    return 0


def _environment(process: Process) -> list[bytes]:
    return [
        f"{name}={value}".encode("utf-8", "surrogateescape") + b"\0"
        for name, value in process.environment.items()
    ]


def environ_sizes_get(process: Process, count: int, size: int) -> int:
    """
    How many environment variables there are, and their bytes in all.
    """
    data = _environment(process)
    process.memory.span(size, 4)
    process.memory.put_u32(count, len(data))
    process.memory.put_u32(size, sum(map(len, data)))
    return 0


def environ_get(process: Process, pointers: int, buffer: int) -> int:
    """
    The environment, as an array of pointers and their strings.
    """
    data = _environment(process)
    process.memory.span(pointers, 4 * len(data))
    process.memory.span(buffer, sum(map(len, data)))
    for index, text in enumerate(data):
        process.memory.put_u32(pointers + 4 * index, buffer)
        process.memory.write(buffer, text)
        buffer += len(text)
    return 0


def progname(process: Process, buffer: int, size: int) -> None:
    """
    The program's name, at most `size` bytes with the terminator.
    """
    if size:
        process.memory.write(buffer, b"/bin/python\0"[: size - 1] + b"\0")


def getuid(_process: Process) -> int:
    """
    The guest's user: 1000, whoever runs the server. getuid(2).
    """
    return 1000


# ---- memory -----------------------------------------------------------------------------------


def resize_heap(process: Process, size: int) -> int:
    """
    Grow linear memory to `size` bytes: 1 done, 0 refused, which the guest sees as MemoryError.
    """
    return int(process.grow_memory(size))


def heap_max(process: Process) -> int:
    """
    The size that linear memory can reach.
    """
    return min(process.total.limit, 2**32 - _PAGE)


# ---- signals, sleep, end ------------------------------------------------------------------------


def check_signals(process: Process) -> int:
    """
    Called by CPython when the signal flag is up: the signal's number, or 0.
    """
    return process.take_signal()


def setitimer(process: Process, _which: int, _milliseconds: float) -> int:
    """
    Timers deliver signals, which exist here only as the interrupt: refused.
    """
    process.note("setitimer", Errno.ENOSYS)
    return -1


def exit_process(_process: Process, code: int) -> int:
    """
    End the guest: exit_group(2). The session is over.
    """
    raise Exited(signed(code), f"the guest's process ended with exit code {code & 0xFF}")


def abort(_process: Process) -> int:
    """
    End the guest as abort(3) does: code 134, 128 plus SIGABRT.
    """
    raise Exited(134, "the guest's process aborted")


def assert_fail(process: Process, text: int, file: int, line: int, function: int) -> int:
    """
    A failed assertion in the guest's C code ends it.
    """
    words = [_text(process, pointer) for pointer in (text, file, function)]
    raise Exited(134, f"assertion failed in the guest: {words[0]} ({words[1]}:{line}, {words[2]})")


def _text(process: Process, pointer: int) -> str:
    try:
        return process.memory.string(pointer, 256).decode("ascii", "replace")
    except GuestFault:
        return "?"


def run_program(process: Process, command: int) -> int:
    """
    system(3): whether there is a shell (no), or the gate's verdict on starting a program.
    """
    if command == 0:
        return 0
    # Frames carry text, and this one is only judged: what is no UTF-8 is shown escaped.
    process.broker.run(process.memory.string(command).decode("utf-8", "backslashreplace"))
    raise GuestFault(Errno.ENOSYS)
