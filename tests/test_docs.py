"""
The documents say what is true: every policy key has its line, and the examples run.
"""

import re
from dataclasses import fields
from pathlib import Path

from policy.parse import load, parse
from policy.schema import LimitsSection
from policy.types import Limits

ROOT = Path(__file__).parent.parent


def keys_of(text, heading):
    section = text.split(heading, 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_limit_has_its_line_and_no_other_has():
    text = (ROOT / "docs" / "policies.md").read_text()
    assert keys_of(text, "## Limits") == {field.name for field in fields(Limits)}
    assert set(LimitsSection.model_fields) == {field.name for field in fields(Limits)}


def test_every_key_of_a_policy_has_its_line():
    text = (ROOT / "docs" / "policies.md").read_text()
    example = (ROOT / "policy" / "examples" / "analyst.yaml").read_text()
    used = set(re.findall(r"^(\w+):", example, re.MULTILINE))
    assert keys_of(text, "# Policies") == used
    granted = set(re.findall(r"[{ ](\w+): ", example.split("network:")[0].split("filesystem:")[1]))
    assert granted & keys_of(text, "## Grants") == keys_of(text, "## Grants")


def test_the_policy_in_the_readme_is_the_one_of_the_demo():
    shown = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    demo = load(ROOT / "examples" / "sales" / "analyst.yaml")
    readme = parse(shown, file="analyst.yaml", base=str(ROOT / "examples" / "sales"))
    assert (readme.filesystem[0].source, readme.limits) == (
        demo.filesystem[0].source,
        demo.limits,
    )


def test_links_in_the_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
