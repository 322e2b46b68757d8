"""
What stands between a guest and the host's `fd_write`: two small WebAssembly modules.

The shelf has a memory and a table of its own. Its `fd_write` is what the guest imports, and calls
whatever the table holds: the host's function, and the writer's as soon as the guest's memory is
there, which a guest may make itself. The writer looks at one call: what is short, whole and on a
stream that the host has marked is copied to the shelf, and all else is the host's, as it came.
It copies by calls of the shelf's, because one module sees one memory: the engine's proposal for
several is off (`engine_config.py`).

The guest can reach neither the shelf's memory nor its table, so what stands there is what these
few functions wrote. An address of the guest's is compared with the size of its memory first: the
host answers EFAULT where the engine would trap.
"""

from typing import Final

from executor.wasm.encoder import (
    ACCESS,
    BYTE,
    DROP,
    END,
    I32_ADD,
    I32_EQZ,
    I32_GT_U,
    I32_LT_U,
    I32_NE,
    I32_OR,
    I32_SHL,
    I64_ADD,
    I64_EXTEND_I32_U,
    I64_GT_U,
    I64_SHL,
    IF,
    LOOP,
    MEMORY_SIZE,
    RETURN,
    Kind,
    ModuleWriter,
    ValueType,
    branch,
    call,
    call_indirect,
    i32_const,
    i64_const,
    local_get,
    local_set,
    local_tee,
)

# Where things are in the shelf's memory. Whether anything is gathered; the end of what was; how
# often the stream has changed; the stream of the last bytes; and for descriptors 1 and 2 which
# stream each is, or 0.
ON: Final = 0
END_OF_DATA: Final = 4
CHANGES: Final = 8
STREAM_NOW: Final = 12
STREAM_OF: Final = 16
# Each change: where it is, times 4, and the stream. Then the bytes.
CHANGE: Final = 28
CHANGES_MAX: Final = 1000
DATA: Final = 4096
SIZE: Final = 2**16
# A longer write goes to the host at once, and so does one in several parts.
LONGEST: Final = 2**13

_I32, _I64 = ValueType.I32, ValueType.I64
_WORD: Final = ACCESS[_I32]
_WIDE: Final = ACCESS[_I64]
# A guest's fd_write: descriptor, vectors, their number, where the result goes.
_WRITE: Final = ([_I32] * 4, [_I32])


def shelf() -> bytes:
    """
    The module with the memory; always the same.
    """
    writer = ModuleWriter()
    writer.export("memory", Kind.MEMORY, writer.memory(1))
    table = writer.table(1)
    writer.export("table", Kind.TABLE, table)
    kind = writer.type(*_WRITE)
    forward = [*map(local_get, range(4)), i32_const(0), call_indirect(kind, table)]
    added = {
        "fd_write": writer.function(kind, forward),
        "room": writer.function(writer.type([_I32] * 2, [_I32]), _room(), [_I32] * 2),
        "put": writer.function(writer.type([_I32, _I64]), _put(_WIDE.store())),
        "put_byte": writer.function(writer.type([_I32] * 2), _put(BYTE.store())),
        "keep": writer.function(writer.type([_I32], [_I32]), _keep()),
    }
    for name, index in added.items():
        writer.export(name, Kind.FUNCTION, index)
    return writer.encode()


def _room() -> list[bytes]:
    """
    Where `length` (1) bytes of a descriptor (0) may be put, or 0.
    """
    descriptor, length, stream, changes = range(4)
    refuse = [IF, i32_const(0), RETURN, END]
    at_end = [i32_const(0), _WORD.load(END_OF_DATA)]
    number = [i32_const(0), _WORD.load(CHANGES)]
    return [
        *(local_get(descriptor), i32_const(2), I32_GT_U, *refuse),
        *(i32_const(0), _WORD.load(ON), I32_EQZ, *refuse),
        *(local_get(descriptor), i32_const(2), I32_SHL, _WORD.load(STREAM_OF)),
        *(local_tee(stream), I32_EQZ, *refuse),
        *(*at_end, local_get(length), I32_ADD, i32_const(SIZE), I32_GT_U, *refuse),
        *(i32_const(0), _WORD.load(STREAM_NOW), local_get(stream), I32_NE, IF),
        *(*number, local_tee(changes), i32_const(CHANGES_MAX), I32_LT_U, I32_EQZ, *refuse),
        *(local_get(changes), i32_const(2), I32_SHL),
        *(*at_end, i32_const(2), I32_SHL, local_get(stream), I32_OR, _WORD.store(CHANGE)),
        *(i32_const(0), local_get(changes), i32_const(1), I32_ADD, _WORD.store(CHANGES)),
        *(i32_const(0), local_get(stream), _WORD.store(STREAM_NOW), END),
        *at_end,
    ]


def _put(store: bytes) -> list[bytes]:
    """
    Put a value (1) at an address (0) that `room` gave.
    """
    return [local_get(0), local_get(1), store]


def _keep() -> list[bytes]:
    """
    Have `length` (0) bytes more be there; whether things are still gathered, asked after that.
    """
    longer = [i32_const(0), _WORD.load(END_OF_DATA), local_get(0), I32_ADD]
    return [i32_const(0), *longer, _WORD.store(END_OF_DATA), i32_const(0), _WORD.load(ON)]


def writer() -> bytes:
    """
    The module that looks at a call; always the same. It imports the guest's memory, the host's
    fd_write, and from the shelf room, put, put_byte and keep.
    """
    made = ModuleWriter()
    kind = made.type(*_WRITE)
    made.import_memory("guest", "memory")
    host = made.import_function("host", "fd_write", kind)
    room = made.import_function("shelf", "room", made.type([_I32] * 2, [_I32]))
    put = made.import_function("shelf", "put", made.type([_I32, _I64]))
    put_byte = made.import_function("shelf", "put_byte", made.type([_I32] * 2))
    keep = made.import_function("shelf", "keep", made.type([_I32], [_I32]))
    code = [*_looked(host, room), *_copied(put, put_byte), *_told(host, keep)]
    index = made.function(kind, code, [_I64, _I32, _I32, _I32, _I32])
    made.export("fd_write", Kind.FUNCTION, index)
    return made.encode()


# The parameters and locals of the writer's function.
_DESCRIPTOR, _VECTORS, _COUNT, _RESULT, _MEMORY, _FROM, _LENGTH, _TO, _DONE = range(9)


def _looked(host: int, room: int) -> list[bytes]:
    """
    Leave to the host what is not for the shelf; else know from where, to where and how much.
    """
    ask = [*map(local_get, range(4)), call(host), RETURN]
    leave = [IF, *ask, END]

    def beyond(start: int, size: list[bytes]) -> list[bytes]:
        wide = [local_get(start), I64_EXTEND_I32_U, *size, I64_ADD]
        return [*wide, local_get(_MEMORY), I64_GT_U, *leave]

    length = [local_get(_LENGTH), I64_EXTEND_I32_U]
    return [
        *(local_get(_COUNT), i32_const(1), I32_NE, *leave),
        *(MEMORY_SIZE, I64_EXTEND_I32_U, i64_const(16), I64_SHL, local_set(_MEMORY)),
        *beyond(_VECTORS, [i64_const(8)]),
        *beyond(_RESULT, [i64_const(4)]),
        *(local_get(_VECTORS), _WORD.load(0), local_set(_FROM)),
        *(local_get(_VECTORS), _WORD.load(4), local_set(_LENGTH)),
        *(local_get(_LENGTH), i32_const(LONGEST), I32_GT_U, *leave),
        *(local_get(_LENGTH), I32_EQZ, *leave),
        *beyond(_FROM, length),
        *(local_get(_DESCRIPTOR), local_get(_LENGTH), call(room)),
        *(local_tee(_TO), I32_EQZ, *leave),
    ]


def _copied(put: int, put_byte: int) -> list[bytes]:
    """
    Copy eight bytes at a time, and the rest by single ones.
    """

    def loop(step: int, load: bytes, store: int) -> list[bytes]:
        after = [local_get(_DONE), i32_const(step), I32_ADD]
        here = [[local_get(where), local_get(_DONE), I32_ADD] for where in (_TO, _FROM)]
        return [
            *(LOOP, local_get(_LENGTH), *after, I32_LT_U, I32_EQZ, IF),
            *(*here[0], *here[1], load, call(store), *after, local_set(_DONE), branch(1), END, END),
        ]

    return [*loop(8, _WIDE.load(), put), *loop(1, BYTE.load(), put_byte)]


def _told(host: int, keep: int) -> list[bytes]:
    """
    Have it be there. Where gathering was over meanwhile the host is told, by a write of nothing.
    """
    tell = [*map(local_get, (_DESCRIPTOR, _VECTORS)), i32_const(0), local_get(_RESULT), call(host)]
    return [
        *(local_get(_LENGTH), call(keep), I32_EQZ, IF, *tell, DROP, END),
        *(local_get(_RESULT), local_get(_LENGTH), _WORD.store(), i32_const(0)),
    ]
