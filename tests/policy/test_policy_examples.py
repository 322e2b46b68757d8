"""
The examples: each loads without a doubt, says what it is for, and answers as its file says.
"""

import re
from pathlib import Path

import pytest

import policy as package
from policy.cages import ISOLATION_ITEMS
from policy.doubts import doubts
from policy.effective import effective
from policy.explain import explain, parse_request
from policy.parse import load, parse
from policy.validation import SECTIONS

EXAMPLES = Path(package.__file__).parent / "examples"
ASKED = {
    "analyst": ["read /data/q1.csv", "read /data/private/q1.csv", "write /work/out/r.md"],
    "bookkeeper": [
        "write /ledger/main.beancount",
        "read /receipts/42.pdf",
        "write /receipts/42.pdf",
        "read /ledger/payroll/2026.beancount",
    ],
    "builder": ["run /usr/bin/git", "run /bin/sh", "run fork", "write /report/r.md"],
    "calculator": ["write /work/x", "read /data/x", "connect example.org:443"],
    "ci-helper": ["read /src/a.py", "read /src/app/.env", "create /report/r.md", "write /src/a.py"],
    "prices": [
        "GET https://api.example.com/v1/prices/eur",
        "POST https://api.example.com/v1/prices/eur",
        "dial db.example.com:5432 at 127.0.0.1",
    ],
    "researcher": [
        "GET https://en.wikipedia.org/wiki/Beancount",
        "POST https://en.wikipedia.org/w/api.php",
        "GET https://export.arxiv.org/abs/2402.01030",
        "connect paste.example.net:443",
    ],
    "tutor": ["read /lesson/1/task.md", "read /lesson/1/solutions/a.py", "write /work/a.py"],
}


def loaded(name):
    return load(str(EXAMPLES / f"{name}.yaml"), base="/srv")


def test_every_example_is_asked():
    assert sorted(ASKED) == sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("name", ASKED)
def test_an_example_is_described_and_raises_no_doubt(name):
    one = loaded(name)
    assert one.description.endswith(".")
    assert doubts(one) == ()


@pytest.mark.parametrize("name", ASKED)
def test_an_example_reads_and_answers_like_this(expected, name):
    one = loaded(name)
    answers = [explain(one, parse_request(text)) for text in ASKED[name]]
    shown = effective(one).split("\n", 1)[1]
    expected(f"example-{name}", "\n\n".join([f"policy {name}\n{shown}", *answers]))


@pytest.mark.parametrize("name", ASKED)
def test_an_example_allows_something_and_denies_something(name):
    words = [explain(loaded(name), parse_request(text)).split(": ")[1] for text in ASKED[name]]
    assert {word.split(" ")[0] for word in words} == {"allowed", "denied"}


def test_every_key_of_the_language_is_in_its_page():
    page = (EXAMPLES.parent.parent / "docs" / "policies.md").read_text()
    said = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    said |= set(re.findall(r"(?:^|`\{)(\w+): ", page, re.MULTILINE))
    for placed, section in SECTIONS.items():
        place = placed.removesuffix(".*")
        for key in section.model_fields:
            # Files, limits and network grants are in tables of their own.
            assert {key, f"{place}.{key}", f"{place.rpartition('.')[2]}.{key}"} & said, (place, key)


def test_the_policy_of_the_process_cage_in_the_page_loads():
    page = (EXAMPLES.parent.parent / "docs" / "policies.md").read_text()
    text = page.split("## The process cage\n```yaml\n")[1].split("```")[0]
    one = parse(f"version: 1\nname: a\n{text}", file="a.yaml", base="/")
    assert one.process is not None
    assert [item for item in ISOLATION_ITEMS if f"`{item}`" not in page] == []
