"""
The functions that guest code may make at run time: a fixed set, compiled with the image.

A closure (libffi's word: a C function pointer that calls back into Python with some data) is
new code in a native process. Here nothing is compiled in a session, so all the code there can
be exists beforehand: for each signature of `TEMPLATES` a number of slots, each an exported
function that knows one thing of its own, a global with the address of its closure. Preparing a
closure means to set that global and to put the slot's function into the table; both are done by
`ffi.py`. Another signature, or one more than there are slots, is refused.

What a slot does is libffi's contract for wasm32: spill the arguments onto the guest's own stack,
make the array of pointers to them, and call `fun(cif, result, arguments, user_data)` through the
table. It is wasm from end to end: no host function is in the path, and whatever the guest wrote
into the closure, the engine's checks of memory and of the table are the only ones needed.

One body serves all slots of a signature. That a struct is passed by its address (so that the
argument *is* the pointer), and that the first parameter is the place of the result, are bits of
the closure's word `FLAGS`, chosen by `select`.

Rejected: an area of guest memory with a record per slot (a base address to pass around, and the
guest could redirect a slot to another closure; a global it cannot reach), and adapters made for
each signature when it is first asked for (that is a compiler in the session).
"""

import itertools
from dataclasses import dataclass
from typing import Final

from executor.wasm.encoder import (
    ACCESS,
    I32_ADD,
    I32_AND,
    I32_SUB,
    SELECT,
    Kind,
    ModuleWriter,
    ValueType,
    call,
    call_indirect,
    global_get,
    global_set,
    i32_const,
    i64_const,
    local_get,
    local_set,
    local_tee,
)

# A closure in guest memory: the table index, then these; `FLAGS` stands before it.
FLAGS: Final = -4
INDEX: Final = 0
CIF: Final = 4
FUN: Final = 8
USER_DATA: Final = 12
CLOSURE_SIZE: Final = 16
# What comes before the closure in its block of memory, so that both are aligned to 16.
PREFIX: Final = 16
# In `FLAGS`: bit k says that parameter k is the address of its value; the last, that parameter
# 0 is where the result goes.
BY_RESULT: Final = 1 << 31

_MANY: Final = 64
_FEW: Final = 8
_TYPES: Final = {
    "i": ValueType.I32,
    "I": ValueType.I64,
    "f": ValueType.F32,
    "d": ValueType.F64,
}
_WORD: Final = ACCESS[ValueType.I32]
_POINTER: Final = 4
# Each spilled argument has eight bytes, and so has the result.
_CELL: Final = 8
_STACK_ALIGN: Final = 16


@dataclass(frozen=True, slots=True)
class Template:
    """
    A signature in the letters of the table of imports ("iid>i"), and how many closures of it
    there can be at once.
    """

    signature: str
    slots: int

    @property
    def parameters(self) -> str:
        """
        The letters before the arrow.
        """
        return self.signature.partition(">")[0]

    @property
    def result(self) -> str:
        """
        The letter after the arrow, or nothing.
        """
        return self.signature.partition(">")[2]


def _signatures() -> dict[str, int]:
    """
    What callbacks look like in the code that passes them, most used first.
    """
    found = {f"{'i' * count}>{result}": _MANY for count in range(7) for result in ("", "i")}
    mixed = ("".join(some) for count in range(4) for some in itertools.product("iId", repeat=count))
    shapes = [(parameters, result) for parameters in mixed for result in ("", "i", "I", "d")]
    shapes += [("i" * count, result) for count in range(7, 13) for result in ("", "i")]
    shapes += [(parameters, result) for parameters in _one_wide() for result in ("", "i")]
    short = ("".join(some) for count in range(4) for some in itertools.product("if", repeat=count))
    shapes += [(parameters, result) for parameters in short for result in ("", "i", "f")]
    shapes += [("ffff", result) for result in ("", "f")]
    shapes += [("d" * count, result) for count in range(4, 7) for result in ("", "d")]
    for parameters, result in shapes:
        found.setdefault(f"{parameters}>{result}", _FEW)
    return found


def _one_wide() -> list[str]:
    """
    Four to six parameters of which one is 64 bits wide.
    """
    return [
        "i" * place + wide + "i" * (count - place - 1)
        for count in range(4, 7)
        for wide in "Id"
        for place in range(count)
    ]


TEMPLATES: Final = tuple(Template(name, slots) for name, slots in _signatures().items())


def function_name(template: int, slot: int) -> str:
    """
    The export that is a slot's function.
    """
    return f"f{template}.{slot}"


def global_name(template: int, slot: int) -> str:
    """
    The export that is a slot's global: the guest address of its closure.
    """
    return f"c{template}.{slot}"


def adapter_module() -> bytes:
    """
    The module with all slots of all templates, as bytes; always the same.

    It imports `env.memory`, `env.__indirect_function_table` and the mutable global
    `env.__stack_pointer`, in that order.
    """
    writer = ModuleWriter()
    writer.import_memory("env", "memory")
    writer.import_table("env", "__indirect_function_table")
    stack = writer.import_global("env", "__stack_pointer", mutable=True)
    handler = writer.type([ValueType.I32] * 4)
    for number, template in enumerate(TEMPLATES):
        _add_template(writer, number, template, stack, handler)
    return writer.encode()


def _add_template(
    writer: ModuleWriter, number: int, template: Template, stack: int, handler: int
) -> None:
    parameters = [_TYPES[letter] for letter in template.parameters]
    results = [_TYPES[letter] for letter in template.result]
    body_type = writer.type([*parameters, ValueType.I32], results)
    code = _body(template, stack, handler)
    # Two locals after the closure's address: the frame, and the flags.
    body = writer.function(body_type, code, [ValueType.I32, ValueType.I32])
    slot_type = writer.type(parameters, results)
    passed = [local_get(index) for index in range(len(parameters))]
    for slot in range(template.slots):
        closure = writer.global_i32()
        index = writer.function(slot_type, [*passed, global_get(closure), call(body)])
        writer.export(function_name(number, slot), Kind.FUNCTION, index)
        writer.export(global_name(number, slot), Kind.GLOBAL, closure)


@dataclass(frozen=True, slots=True)
class _Frame:
    """
    What a body puts on the guest's stack: the array of pointers, the result, the arguments.
    """

    count: int

    @property
    def result(self) -> int:
        return -(-self.count * _POINTER // _CELL) * _CELL

    def argument(self, index: int) -> int:
        return self.result + _CELL * (index + 1)

    @property
    def size(self) -> int:
        return -(-self.argument(self.count) // _STACK_ALIGN) * _STACK_ALIGN


def _body(template: Template, stack: int, handler: int) -> list[bytes]:
    """
    The code of a template: takes the parameters, then the closure's address.
    """
    count = len(template.parameters)
    closure, frame, flags = count, count + 1, count + 2
    layout = _Frame(count)
    code = [global_get(stack), i32_const(layout.size), I32_SUB, local_tee(frame), global_set(stack)]
    # A load's offset is never negative, so the address is.
    code += [local_get(closure), i32_const(FLAGS), I32_ADD, _WORD.load(), local_set(flags)]
    for index, letter in enumerate(template.parameters):
        code += _spill(index, letter, layout)
    # A handler that stores less than the whole result leaves zeros, not old stack.
    code += [local_get(frame), i64_const(0), ACCESS[ValueType.I64].store(layout.result)]
    code += [local_get(closure), _WORD.load(CIF)]
    code += _result_and_arguments(template, layout)
    code += [local_get(closure), _WORD.load(USER_DATA)]
    code += [local_get(closure), _WORD.load(FUN), call_indirect(handler)]
    code += [local_get(frame), i32_const(layout.size), I32_ADD, global_set(stack)]
    if template.result:
        code += [local_get(frame), ACCESS[_TYPES[template.result]].load(layout.result)]
    return code


def _spill(index: int, letter: str, layout: _Frame) -> list[bytes]:
    """
    Store a parameter, and its address into the array; or itself, where it is an address already.
    """
    frame, flags = layout.count + 1, layout.count + 2
    offset = layout.argument(index)
    stored = [local_get(frame), local_get(index), ACCESS[_TYPES[letter]].store(offset)]
    address = [local_get(frame), i32_const(offset), I32_ADD]
    if letter == "i":
        is_address = [local_get(flags), i32_const(1 << index), I32_AND]
        address = [local_get(index), *address, *is_address, SELECT]
    return [*stored, local_get(frame), *address, _WORD.store(index * _POINTER)]


def _result_and_arguments(template: Template, layout: _Frame) -> list[bytes]:
    """
    The place of the result and the array: of the frame, or parameter 0 and what follows it.
    """
    frame, flags = layout.count + 1, layout.count + 2
    own = [local_get(frame), i32_const(layout.result), I32_ADD]
    if template.result or not template.parameters.startswith("i"):
        return [*own, local_get(frame)]
    by_result = [local_get(flags), i32_const(BY_RESULT), I32_AND, SELECT]
    rest = [local_get(frame), i32_const(_POINTER), I32_ADD, local_get(frame)]
    return [local_get(0), *own, *by_result, *rest, *by_result]
