"""
The example of docs/tools.md runs as it stands there.
"""

import subprocess
import sys

import pytest

from tests.e2e.serving import ACCOUNT, ROOT, environment, needs_image
from tests.pages import blocks

pytestmark = [pytest.mark.image, needs_image]


def test_the_example_of_the_page_about_tools_prints_what_it_says():
    (program,) = blocks((ROOT / "docs" / "tools.md").read_text(), "python")
    if ACCOUNT:  # the tests' own user, which a reader is not
        program = program.replace("policies=policies)", f"policies=policies, run_as={ACCOUNT!r})")
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
    )
    first, second, third = ran.stdout.splitlines()
    assert (first, third) == ("100", "True"), ran.stderr
    assert second.endswith("its argument limit is more, and has to be a number from 1 up to 100")
