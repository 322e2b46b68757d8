"""
The policy that is a value says what the file of the same name says.
"""

import subprocess
import sys
from importlib.resources import files

from policy.builtin import CALCULATOR
from policy.parse import parse


def test_the_built_in_policy_is_what_its_file_says():
    text = (files("policy") / "examples" / "calculator.yaml").read_text(encoding="utf-8")
    assert parse(text, file="calculator.yaml", base="/") == CALCULATOR


def test_the_built_in_policy_needs_nothing_that_reads_files_of_policies():
    code = "import policy.builtin, sys; print('pydantic' in sys.modules, 'ruamel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
