"""
What a mutant is: one function of the source with one small change of its meaning.

The operators are the usual ones (those of PIT's default set, as far as Python has them): boundaries
and negations of comparisons, `and` for `or`, arithmetic, numbers, truth values, conditions, calls
and raises whose only use is what they do, and returned values. Texts are left alone: what an error
says is compared with files of expected texts elsewhere, and a changed letter says nothing of a rule.
"""

import ast
import copy
import itertools
from collections.abc import Container, Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
NEGATED = {ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    `tree` is a module of one function, `name` (its qualified name), which is changed at `line`:
    what `before` says there it says as `after`, both as `ast.unparse` writes them.
    """

    name: str
    line: int
    what: str
    before: str
    after: str
    tree: ast.Module


def mutants(source: str, numbers: Container[int] | None = None) -> Iterator[Mutant]:
    """
    The mutants of the functions that a module, or a class of it, defines: all, or those of the
    `numbers` (from 0).
    """
    count = itertools.count()
    for name, function in outer_functions(ast.parse(source)):
        yield from _of(name, function, count, numbers)


def mutant_count(source: str) -> int:
    """
    How many mutants a module has.
    """
    return sum(
        1
        for _, function in outer_functions(ast.parse(source))
        for node in _meaningful(function)
        for _, undo in _changes(node)
        if undo() is None
    )


def outer_functions(
    node: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in node.body:
        if isinstance(child, FUNCTIONS):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from outer_functions(child, f"{prefix}{child.name}.")


def _of(
    name: str,
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    count: Iterator[int],
    numbers: Container[int] | None,
) -> Iterator[Mutant]:
    # A change is made in place, copied with the function around it, and taken back.
    plain = ast.unparse(function).splitlines()
    outside = _outside(function)
    for node in _meaningful(function):
        for what, undo in _changes(node):
            if numbers is None or next(count) in numbers:
                before, after = _difference(plain, ast.unparse(function).splitlines())
                alone = _alone(name, function, outside)
                yield Mutant(name, node.lineno, what, before, after, alone)
            undo()


def _difference(plain: list[str], changed: list[str]) -> tuple[str, str]:
    ((before, after),) = [pair for pair in zip(plain, changed, strict=True) if pair[0] != pair[1]]
    return before.strip(), after.strip()


def _alone(
    name: str, function: ast.FunctionDef | ast.AsyncFunctionDef, outside: dict[int, list[str]]
) -> ast.Module:
    """
    A module of one function, in the classes that its name says.

    The functions inside it mention the names that they had from `outside`, by line, even where the
    change has left them out: the code of one that lives is exchanged for code with the same ones.
    """
    alone: ast.stmt = copy.deepcopy(function)
    for inner in ast.walk(alone):
        if isinstance(inner, FUNCTIONS) and outside.get(inner.lineno):
            names = [ast.Expr(ast.Name(one, ast.Load())) for one in outside[inner.lineno]]
            inner.body.append(ast.If(ast.Constant(False), names, []))
    for outer in reversed(name.split(".")[:-1]):
        alone = ast.ClassDef(outer, [], [], [alone], [], type_params=[])
    return ast.fix_missing_locations(ast.Module([alone], []))


def _outside(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[int, list[str]]:
    """
    The names that a method has from its class, for super(), and that each function inside this one
    has from it, by the line where it begins.
    """
    inside = [one for one in ast.walk(function) if isinstance(one, FUNCTIONS)][1:]
    bound, found = _bound(function), {}
    for one in inside:
        found[one.lineno] = sorted(_names(one, ast.Load) & bound - _bound(one))
    if "super" in _names(function, ast.Load):
        found[function.lineno] = ["__class__"]
    return found


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    named = (one for one in ast.walk(node) if isinstance(one, ast.Name))
    return {one.id for one in named if isinstance(one.ctx, context)}


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
    return arguments | _names(function, ast.Store)


def _meaningful(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """
    The nodes of a body that say what it does: no annotations, no decorators, no assertions, which
    narrow types here and check nothing.
    """
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Assert):
            continue
        yield node
        skipped = {"annotation", "returns", "decorator_list", "args"}
        if not isinstance(node, (*FUNCTIONS, ast.AnnAssign)):
            skipped = set()
        if isinstance(node, ast.Call) and _is_typing(node):
            continue
        for field, value in ast.iter_fields(node):
            if field not in skipped:
                found = value if isinstance(value, list) else [value]
                waiting.extend(one for one in found if isinstance(one, ast.AST))


def _is_typing(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "cast"


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """
    Each change of a node, made, with how to take it back.
    """
    yield from _of_expression(node)
    yield from _of_statement(node)
    yield from _of_raises(node)


def _of_expression(node: ast.AST) -> Iterator[tuple[str, object]]:
    match node:
        case ast.Compare():
            for index, op in enumerate(node.ops):
                if other := COMPARISONS.get(type(op)):
                    yield _set_item(node.ops, index, other(), _swap(op, other))
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield _set(node, "op", other, _swap(node.op, type(other)))
        case ast.BinOp() | ast.AugAssign():
            if (other := ARITHMETIC.get(type(node.op))) and not _is_text(node):
                yield _set(node, "op", other(), _swap(node.op, other))
        case ast.UnaryOp(op=ast.Not()):
            truth = ast.copy_location(ast.UnaryOp(ast.Not(), node.operand), node)
            yield _set(node, "operand", truth, "not is left out")
        case ast.Constant(value=bool()):
            yield _set(node, "value", not node.value, f"{node.value} -> {not node.value}")
        case ast.Constant(value=int()):
            yield _set(node, "value", node.value + 1, f"{node.value} -> {node.value + 1}")


def _of_statement(node: ast.AST) -> Iterator[tuple[str, object]]:
    match node:
        case ast.If() | ast.While() | ast.IfExp() if not _is_negated_above(node.test):
            negated = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
            yield _set(node, "test", negated, "the condition is negated")
        case ast.Return(value=ast.expr()) if not _is_false(node.value):
            none = ast.copy_location(ast.Constant(None), node.value)
            yield _set(node, "value", none, "returns None")
        case ast.Expr(value=ast.Call() | ast.Await()):
            none = ast.copy_location(ast.Constant(None), node.value)
            yield _set(node, "value", none, "the call is left out")


def _of_raises(node: ast.AST) -> Iterator[tuple[str, object]]:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list):
            for index, statement in enumerate(block):
                if isinstance(statement, ast.Raise):
                    left = ast.copy_location(ast.Pass(), statement)
                    yield _set_item(block, index, left, f"line {statement.lineno} raises nothing")


def _is_negated_above(test: ast.expr) -> bool:
    """
    Whether the operators of a condition have its negation among them.
    """
    if isinstance(test, ast.Compare):
        return len(test.ops) == 1 and type(test.ops[0]) in NEGATED
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    """
    Whether something is put together here that is no number, as far as can be seen.
    """
    sides = [getattr(node, side, None) for side in ("left", "right", "value")]
    text = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
    return any(
        isinstance(side, text) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in sides
    )


def _is_false(value: ast.expr) -> bool:
    """
    Whether None in the place of a value is no change: it is None, or the False of a yes or no,
    which has a mutant that is True.
    """
    return isinstance(value, ast.Constant) and (value.value is None or value.value is False)


def _swap(old: ast.AST, new: type[ast.AST]) -> str:
    return f"{type(old).__name__} -> {new.__name__}"


def _set(node: ast.AST, field: str, value: object, what: str) -> tuple[str, object]:
    before = getattr(node, field)
    setattr(node, field, value)
    return what, lambda: setattr(node, field, before)


def _set_item(items: list, index: int, value: object, what: str) -> tuple[str, object]:
    before = items[index]
    items[index] = value

    def undo() -> None:
        items[index] = before

    return what, undo
