"""
Row W51: what the imports before the fork drew their chance from is new in every session.
"""

import dataclasses

import pytest

from executor.images.bootable import parts
from executor.wasm.boot import boot
from tests.executor.wasm.wasi_world import data_parts

DRAWN = b"import random\nOWN = random.Random()\nOTHER = random.Random(5)\n"
ASKED = "import drawn, random\n(drawn.OWN.random(), drawn.OTHER.random(), random.random())"
NUMPY = "import numpy as np, drawn_numpy as d\n(np.random.rand(), d.OWN.random(), d.OLD.rand())"


def drawn(given, name, source, asked, seed):
    """
    What a session with this seed draws, from a fresh boot of the same parts.
    """
    files = {**given.site_packages, f"{name}.py": source}
    guest = boot(dataclasses.replace(given, warm=(*given.warm, name), site_packages=files))
    begin = {"op": "begin", "environment": {}, "seed": seed * 64, "directory": "/work"}
    assert guest.call(begin)["status"] == "ok"
    answer = guest.call({"op": "cell", "cell": 1, "code": asked})
    assert answer["status"] == "ok", answer.get("traceback")
    return eval(answer["value"]["text"].replace("np.float64", ""))


def assert_all_differ(first, second):
    assert all(one != other for one, other in zip(first, second, strict=True)), (first, second)


def test_w51_generators_made_before_the_fork_differ_between_sessions(image):
    given = parts(image)
    first = drawn(given, "drawn", DRAWN, ASKED, "00")
    assert drawn(given, "drawn", DRAWN, ASKED, "00") == first, "and are the seed's alone"
    assert_all_differ(first, drawn(given, "drawn", DRAWN, ASKED, "11"))


@pytest.mark.image
def test_w51_so_do_those_of_numpy():
    source = b"import numpy as np\nOWN = np.random.default_rng()\nOLD = np.random.RandomState(1)\n"
    first = drawn(data_parts(), "drawn_numpy", source, NUMPY, "00")
    assert_all_differ(first, drawn(data_parts(), "drawn_numpy", source, NUMPY, "11"))
