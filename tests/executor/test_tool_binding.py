"""
The arguments of a call are bound to a tool's signature as Python itself binds them.

What Python does is found out by calling a function of the same signature, for signatures and calls
of every shape; the names are few, so that they meet.
"""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecage import values
from executor.kernel.toolbind import Misfit, bound, signature_of
from executor.kernel.tooling import OPEN_ENDED, Parameter, ParameterKind, Tool
from policy.requests import Composite

NAMES = "abcde"
KINDS = [*inspect._ParameterKind]


@st.composite
def signatures(draw):
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), max_size=5)))
    made, optional = [], False
    for name, kind in zip(NAMES, kinds, strict=False):
        if kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            if all(one.kind is not kind for one in made):
                made.append(inspect.Parameter(name, kind))
            continue
        placed = kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD
        has_default = (placed and optional) or draw(st.booleans())
        optional = optional or (placed and has_default)
        default = draw(st.integers()) if has_default else inspect.Parameter.empty
        made.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(made)


def tool_of(signature):
    return Tool("t", tuple(map(parameter_of, signature.parameters.values())))


def parameter_of(one):
    default = None if one.default is inspect.Parameter.empty else values.encode(one.default)
    return Parameter(one.name, ParameterKind(one.kind.value), default=default)


def bound_by_python(signature, args, kwargs):
    space = {}
    exec(f"def called{signature}: return locals()", space)
    try:
        found = space["called"](*args, **kwargs)
    except TypeError:
        return None
    left_out = {kind.value for kind in OPEN_ENDED}
    kinds = {one.name: one.kind.value for one in signature.parameters.values()}
    return {name: value for name, value in found.items() if kinds[name] not in left_out}


def bound_here(signature, args, kwargs):
    try:
        return bound(signature_of(tool_of(signature)), values.encode((args, kwargs)))
    except Misfit:
        return None


@given(
    signatures(),
    st.lists(st.integers(), max_size=4).map(tuple),
    st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=4),
)
def test_arguments_are_bound_as_python_binds_them(signature, args, kwargs):
    assert bound_here(signature, args, kwargs) == bound_by_python(signature, args, kwargs)


def test_what_no_bound_is_about_is_told_by_its_kind_alone():
    tool = Tool("t", (Parameter("a", ParameterKind.POSITIONAL_ONLY),))
    for value, kind in (([1], "list"), ({}, "dict"), (b"x", "bytes"), (1j, "complex")):
        assert bound(signature_of(tool), values.encode(((value,), {}))) == {"a": Composite(kind)}


@pytest.mark.parametrize("text", ["x" * 2**18, "x" * 100])
def test_a_text_is_read_as_far_as_a_bound_could_be_about_it(text):
    tool = Tool("t", (Parameter("a", ParameterKind.POSITIONAL_ONLY),))
    found = bound(signature_of(tool), values.encode(((text,), {})))["a"]
    assert found == (text if len(text) == 100 else Composite("value"))
