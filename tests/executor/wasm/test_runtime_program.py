"""
Where the code of the guest's half comes from: the image's bytecode, or the source.
"""

from executor.wasm.parts import Parts
from executor.wasm.program import SOURCES, runtime_program, source_digest


def program(**runtime):
    parts = Parts(python="", trampoline="", stdlib=b"", site_packages={}, runtime=runtime)
    return runtime_program(parts)


def test_what_the_image_has_is_not_compiled():
    digest = source_digest(SOURCES["loop.py"])
    made = program(**{digest: b"code"})
    assert made.made == b"code"
    assert "loop = marshal.loads(made[0:4])\n" in made.text
    assert repr(SOURCES["loop.py"]) not in made.text


def test_a_source_that_the_image_does_not_have_is_compiled():
    changed = source_digest(SOURCES["loop.py"] + "\n")
    made = program(**{changed: b"code"})
    assert made.made == b""
    assert "marshal.loads" not in made.text
    assert f"loop = compile({SOURCES['loop.py']!r}" in made.text
