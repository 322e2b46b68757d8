"""
What the sessions of the image `data` share: one memory at its boot, and objects of before the fork, whose references the
interpreter does not count, so that to use them writes no page.
"""

import pytest

from tests.executor.wasm.wasi_world import Data, data_image, data_parts
from tests.executor.wasm.world import MIB

pytestmark = pytest.mark.image

# The runtime's own namespace, by a function of it that the interpreter holds.
RUNTIME = "import sys\nruntime = sys.unraisablehook.__globals__\n"


@pytest.fixture(scope="module")
def data():
    """
    One guest with what the image imports. No test of this module may end it.
    """
    return Data(data_parts(data_image().manifest.warm)).begin()


def test_two_boots_of_one_image_have_the_same_memory(data, data_zygote):
    """
    Requirement 7, for what the image imports and does before the fork.
    """
    with data_zygote.session(memory_bytes=512 * MIB) as worker:
        assert data.digest == data_zygote.digest == worker.ready.boot_digest


@pytest.mark.parametrize(
    "thing",
    [
        "pd.DataFrame",
        "pd.DataFrame.groupby",
        "pd.DataFrame.groupby.__code__",
        "pd.DataFrame.groupby.__code__.co_consts",
        "pd.core.groupby.groupby.__dict__",
        "sys.modules",
        "runtime['entry']",
    ],
)
def test_what_existed_before_the_fork_is_not_counted(data, thing):
    assert data.value(f"{RUNTIME}import pandas as pd\nsys._is_immortal({thing})") == "True"


@pytest.mark.parametrize(
    "thing", ["pd.DataFrame({'a': [1]})", "(lambda: 0).__code__", "[1]", "'text of a session' * 2"]
)
def test_what_a_session_makes_is_counted(data, thing):
    code = f"import sys, pandas as pd\nmade = {thing}\nsys._is_immortal(made)"
    assert data.value(code) == "False"


def test_a_session_gets_the_memory_back_of_what_it_lets_go(data):
    code = (
        "import weakref, pandas as pd\ntable = pd.DataFrame({'a': range(10)})\n"
        "seen = weakref.ref(table.groupby('a'))\nkept = weakref.ref(table)\n"
        "before = kept() is table\ndel table\n(before, kept() is None, seen() is None)"
    )
    assert data.value(code) == "(True, True, True)"


def test_the_reserve_of_memory_is_counted_because_it_has_to_be_given_up(data):
    code = f"{RUNTIME}(type(runtime['_reserve']).__name__, sys._is_immortal(runtime['_reserve']))"
    assert data.value(code) == "('bytearray', False)"
