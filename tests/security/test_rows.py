"""
Every row of the attack list that this version answers for has a test that carries its name.
"""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROWS = [
    *(f"w{number:02}" for number in range(1, 49)),
    *(f"w{number:02}" for number in range(50, 58)),
    *(f"w{number:02}" for number in range(60, 64)),
    *(f"f{number:02}" for number in range(1, 20)),
    # A17 is about tenants, which there are none of yet.
    *(f"a{number:02}" for number in (1, 2, 3, 4, 5, 6, *range(10, 17), 18, 19, 20)),
    *(f"r{number:02}" for number in (3, 4, 5, 9)),
    *(f"n{number:02}" for number in range(1, 18)),
    *(f"s{number:02}" for number in (1, 2, 3, 4, 5, 8, 9)),
    *(f"y{number:02}" for number in (*range(1, 13), 20, 21, 22, 30, 31, 32, 33)),
]


def test_every_row_has_a_test_with_its_name():
    names = set()
    for path in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE):
            names |= set(re.findall(r"_([wfasnry]\d\d)(?=_|$)", name))
    assert not set(ROWS) - names
