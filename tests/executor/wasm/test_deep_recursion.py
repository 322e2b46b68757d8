"""
Row W34: deep recursion in C code is an exception, or passes; it ends no session.
"""

import pytest

DEEP = 100_000
NESTED = {
    "list": "x = [x]",
    "tuple": "x = (x,)",
    "dict": "x = {0: x}",
    "object": "o = O(); o.a = x; x = o",
}
RAISES = {
    "decoding JSON": "json.loads('[' * DEEP)",
    "encoding JSON": "json.dumps(nested())",
    "a representation": "repr(nested())",
    "comparing": "nested() == nested()",
    "pickling": "pickle.dumps(nested())",
    "a function": "f = lambda: f()\nf()",
    "a generator": "def g(): yield from g()\nlist(g())",
}
HEAD = f"""
import json, pickle
DEEP = {DEEP}
class O: pass
def nested():
    x = None
    for _ in range(DEEP): x = [x]
    return x
"""


@pytest.mark.parametrize("kind", NESTED)
def test_w34_what_is_nested_deep_is_made_and_freed(session, kind):
    code = f"x = None\nfor _ in range(DEEP): {NESTED[kind]}\ndel x\n'freed'"
    assert session.run(HEAD + code).ok().text == "'freed'"


@pytest.mark.parametrize("what", RAISES)
def test_w34_deep_recursion_of_c_code_is_a_recursion_error(session, what):
    cell = session.run(HEAD + RAISES[what])
    assert cell.error.startswith("RecursionError")
    assert session.run("'alive'").ok().text == "'alive'"
