"""
The documents say what is true: keys, images and commands are those that exist, examples run.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from executor.children.probing import NotHeld, probe
from executor.cli import COMMANDS, parser_for
from executor.images import catalog
from executor.images.declaration import Declaration, load, parse, shipped_names
from executor.images.guests import GUESTS
from executor.images.unpack import _FORBIDDEN_MODULES, _FORBIDDEN_SUFFIXES, MAX_FILES
from executor.process import images as native_images
from policy.parse import load as load_policy
from policy.parse import parse as parse_policy
from policy.schema import LimitsSection
from policy.types import Limits
from tests.e2e.serving import environment
from tests.pages import README, ROOT, blocks, excerpt, missing, section

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
IMAGES = (ROOT / "docs" / "images.md").read_text()


def keys_of(text, heading):
    return set(re.findall(r"^\| `([\w-]+)`", section(text, heading), re.MULTILINE))


def commands():
    """
    Every `codecage` line of the shell blocks, without comments and prompts.
    """
    for page in PAGES:
        for block in blocks(page.read_text(), ""):
            for line in block.splitlines():
                if line.removeprefix("$ ").startswith("codecage "):
                    words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=";")
                    words.whitespace_split = True
                    yield from commands_of(page.name, list(words))


def commands_of(page, words):
    while words:
        end = words.index(";") if ";" in words else len(words)
        yield pytest.param(words[1:end], id=f"{page}: {' '.join(words[:end])}")
        words = words[end + 1 :]


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
    demo = load_policy(ROOT / "examples" / "sales" / "analyst.yaml")
    base = str(ROOT / "examples" / "sales")
    readme = parse_policy(blocks(README, "yaml")[0], file="analyst.yaml", base=base)
    assert (readme.filesystem[0].source, readme.limits) == (
        demo.filesystem[0].source,
        demo.limits,
    )


def test_links_in_the_documents_lead_somewhere():
    for page in PAGES:
        for target, heading in re.findall(r"\]\(([^):#]*)(?:#([\w-]+))?\)", page.read_text()):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name} links to {target}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
                assert heading in {slug(text) for text in headings}, f"{page.name}: #{heading}"


def test_every_file_that_the_documents_name_is_there():
    place = re.compile(r"`((?:executor|policy|tests|proto|agent_client|benchmarks)/[\w./*-]*)[`:]")
    for page in PAGES:
        for path in place.findall(page.read_text()):
            assert list(ROOT.glob(path)), f"{page.name} names {path}"


def test_the_map_of_the_packages_is_of_those_that_are_there():
    rows = dict(
        re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", (ROOT / "BUILD.md").read_text(), re.MULTILINE)
    )
    for folder, text in rows.items():
        for name in re.findall(r"`([\w/*]+\.py)`", text):
            assert list((ROOT / folder).glob(name)), f"{folder}/{name}"
    packages = {f"executor/{path.parent.name}" for path in ROOT.glob("executor/*/__init__.py")}
    assert packages <= set(rows)


def slug(heading):
    """
    The anchor that a page on the web has for a heading.
    """
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_in_the_documents_is_one_that_the_program_takes(words):
    known = {command.name: command for command in COMMANDS}
    assert words[0] in known
    parser_for(known[words[0]]).parse_args(words)


@pytest.mark.parametrize("words", [["image", "build", "core", "math"], ["run", "--picture", "x"]])
def test_a_command_that_the_program_does_not_take_would_be_seen(words):
    known = {command.name: command for command in COMMANDS}
    with pytest.raises(SystemExit):
        parser_for(known[words[0]]).parse_args(words)


def test_the_readme_has_a_line_for_each_shipped_image_and_no_other():
    assert keys_of(README, "## Images") == {*shipped_names(), *native_images.names()}


def test_the_page_about_images_says_what_each_shipped_image_is_made_of():
    rows = re.findall(r"^\| `(.*?)` \|.*\| (.*) \|$", section(IMAGES, "# Images"), re.MULTILINE)
    said = {guest: set(re.findall(r"`([\w-]+)`", images)) for guest, images in rows}
    shipped = [load(name) for name in shipped_names()]
    assert said == {
        kind.name: {one.name for one in shipped if one.guest is kind} for kind in GUESTS
    }


def test_every_key_of_a_declaration_has_its_line():
    made = {"version", *(field.name for field in fields(Declaration))} - {"lock"}
    assert keys_of(IMAGES, "## An image of your own") == made


def test_the_declaration_in_the_documents_is_read():
    declaration = parse(blocks(IMAGES, "yaml")[0], ROOT / "docs" / "team.yaml")
    assert declaration.packages == ("msgspec", "attrs")
    assert [source.path for source in declaration.sources] == [ROOT / "docs" / "wheels", None]


def test_what_a_wheel_may_not_hold_is_said():
    text = section(IMAGES, "## What is refused")
    for name in (*_FORBIDDEN_SUFFIXES, *_FORBIDDEN_MODULES, f"{MAX_FILES:,} files"):
        assert name in text, name


def test_the_figures_about_closures_are_those_of_the_code():
    from executor.wasm import closures, ffi

    slots = sum(template.slots for template in closures.TEMPLATES)
    for page in ("BUILD.md", "docs/security.md"):
        assert f"{slots:,} " in (ROOT / page).read_text()
        assert f"{len(closures.TEMPLATES)} signatures" in (ROOT / page).read_text()
    assert f"{len(closures.TEMPLATES)} signatures, {ffi.CLOSURES_MAX:,} at a time" in IMAGES


@pytest.fixture
def folder(monkeypatch):
    """
    A working directory with the policy of the README; a server that was root has to see it.
    """
    with tempfile.TemporaryDirectory(prefix="codecage-docs-") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "policies" / "data").mkdir(parents=True)
        (place / "policies" / "reports").mkdir()
        (place / "policies" / "reports").chmod(0o777)
        (place / "policies" / "analyst.yaml").write_text(blocks(README, "yaml")[0])
        monkeypatch.chdir(place)
        yield place


@pytest.mark.image
@pytest.mark.skipif(catalog.find("core") is None, reason="the image `core` is not built")
def test_the_readmes_loop_runs_and_gives_the_model_what_it_reads_next(folder):
    names = {"code_from_your_model": "import os\nos.listdir('/data')", "messages": []}
    exec(blocks(README, "python")[0], names)
    assert names["messages"] == [{"role": "user", "content": "[]"}]


@pytest.mark.image
@pytest.mark.skipif(catalog.find("data") is None, reason="the image `data` is not built")
def test_the_readmes_session_of_another_image_runs(folder):
    import agent_client

    names = {"agent_client": agent_client}
    (example,) = [block for block in blocks(README, "python") if 'image="data"' in block]
    exec(example, names)
    assert names["observation"].ok
    assert names["observation"].text.startswith("count    3.0\nmean     2.0\n")
    assert names["pictures"] == []


@pytest.mark.image
@pytest.mark.skipif(catalog.find("core") is None, reason="the image `core` is not built")
def test_the_readmes_tool_is_called(folder, capsys):
    import agent_client

    (grants,) = re.findall(r"`(tools: \[\{.*?\}\])`", README)
    (folder / "policies" / "shop.yaml").write_text(f"version: 1\nname: shop\n{grants}\n")
    (example,) = [block for block in blocks(README, "python") if "search_orders" in block]
    database = SimpleNamespace(orders=lambda _, limit: [{"total": 7}] * limit)
    exec(example, {"agent_client": agent_client, "database": database})
    assert capsys.readouterr().out == "35 1\n"


@pytest.mark.image
@pytest.mark.skipif(catalog.find("core") is None, reason="the image `core` is not built")
def test_what_the_documents_say_an_import_says_is_what_it_says():
    import agent_client

    (said,) = re.findall(r"^ModuleNotFoundError: .*$", section(README, "## Images"), re.MULTILINE)
    with agent_client.connect() as cage, cage.session() as session:
        assert session.run("import numpy").text.splitlines()[-1] == said


@pytest.mark.image
@pytest.mark.parametrize(
    ("demo", "heading", "image"),
    [
        ("demo_codeact.py", "## Two cages", native_images.find("native-data")),
        ("demo_data.py", "## Images", catalog.find("data")),
    ],
)
def test_a_demo_prints_what_the_readme_shows_of_it(tmp_path, demo, heading, image):
    """
    The other two are run by tests/test_wheel.py and tests/e2e/test_network_docs.py.
    """
    if image is None:
        pytest.skip("its image is not built")
    if demo == "demo_codeact.py" and isinstance(probe(), NotHeld):
        pytest.skip(f"no box can be made here: {probe()}")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / demo, tmp_path],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not missing(excerpt(heading), done.stdout), done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"cell-5-1.png", "saved.png"}


@pytest.mark.parametrize(
    ("told", "other"), [("+9.2%", "+9.3%"), ("run curl", "run wget"), ("[ok,", "[error,")]
)
def test_an_excerpt_that_is_not_of_a_run_would_be_seen(told, other):
    shown = excerpt("## Two cages")
    run = shown.replace("...\n", "and so on\n").replace("18.7 ms", "5.9 ms")
    assert not missing(shown, run)
    assert missing(shown, run.replace(told, other))
