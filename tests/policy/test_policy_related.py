"""
`within` and `defaults`: which files they name, and what is refused (Y09).
"""

import os
from pathlib import Path

import pytest

from policy.decide import decide
from policy.doubts import SHIPPED_IMAGES
from policy.errors import PolicyError
from policy.parse import load, load_directory, parse
from policy.related import _is_plain
from policy.requests import FileAction, FileRequest
from policy.types import CageKind


@pytest.fixture
def place(tmp_path):
    def write(**files: str) -> Path:
        for name, text in files.items():
            folder, _, stem = name.rpartition("__")
            (tmp_path / folder).mkdir(exist_ok=True, mode=0o755)
            path = tmp_path / folder / f"{stem}.yaml"
            path.write_text(f"version: 1\nname: {stem}\n{text}")
            path.chmod(0o644)
        return tmp_path

    return write


def refusal(action) -> str:
    with pytest.raises(PolicyError) as caught:
        action()
    return str(caught.value)


def both(access: str, extra: str = "") -> str:
    return f"filesystem: [{{mount: /data, source: ./data, access: {access}{extra}}}]\n"


def test_a_ceiling_beside_a_policy_takes_rights_away(place):
    at = place(a="within: [top]\n" + both("read-write"), top=both("read"))
    policy = load(str(at / "a.yaml"))
    assert policy.name == "a"
    assert policy.within == ("top",)
    assert decide(policy, FileRequest(FileAction.READ, "/data/x")).allowed
    assert not decide(policy, FileRequest(FileAction.WRITE, "/data/x")).allowed
    without = place(a=both("read-write"))
    assert decide(load(str(without / "a.yaml")), FileRequest(FileAction.WRITE, "/data/x")).allowed


def test_a_ceiling_in_its_folder_holds_and_is_no_policy_of_its_own(place):
    at = place(a="within: [top]\n" + both("read-write"), ceilings__top=both("read"))
    policies = load_directory(str(at))
    assert list(policies) == ["a"]
    assert not decide(policies["a"], FileRequest(FileAction.WRITE, "/data/x")).allowed
    assert policies["a"] == load(str(at / "a.yaml"))


def test_the_digest_is_of_the_result(place):
    at = place(a="within: [top]\n" + both("read-write"), top=both("read"))
    narrowed = load(str(at / "a.yaml")).digest
    assert narrowed == load(str(place(a=both("read")) / "a.yaml")).digest


def test_a_ceilings_own_ceiling_holds_too(place):
    at = place(
        a="within: [middle]\n" + both("read-write"),
        ceilings__middle="within: [top]\n" + both("read-write"),
        ceilings__top=both("read") + "limits: {cells: 5}\n",
    )
    policy = load_directory(str(at))["a"]
    assert policy.within == ("middle", "top")
    assert policy.limits.cells == 5
    assert not decide(policy, FileRequest(FileAction.WRITE, "/data/x")).allowed


def test_defaults_give_what_is_no_right_and_nothing_else(place):
    house = (
        both("read") + "image: [math, core]\nclock: frozen\nrandom: {seed: 3}\ndisclose: true\n"
        "network: [{host: example.org}]\nlimits: {cells: 5, files: 7}\nenvironment: {A: x, B: w}\n"
    )
    at = place(a="defaults: house\nlimits: {files: 9}\nenvironment: {B: z}\n", house=house)
    policy = load(str(at / "a.yaml"))
    assert (policy.images, policy.clock.value, policy.seed) == (("math", "core"), "frozen", 3)
    assert (policy.limits.cells, policy.limits.files) == (5, 9)
    assert policy.environment == (("A", "x"), ("B", "z"))
    assert (policy.filesystem, policy.network, policy.disclose) == ((), (), False)
    assert (policy.rule("limits.cells").file, policy.rule("limits.files").file) == (
        "house.yaml",
        "a.yaml",
    )


def test_what_a_file_says_itself_wins_over_its_defaults(place):
    at = place(
        a="defaults: house\nimage: core\nclock: real\nrandom: {seed: 4}\n",
        house="image: math\nclock: frozen\nrandom: {seed: 3}\n",
    )
    policy = load(str(at / "a.yaml"))
    assert (policy.images, policy.clock.value, policy.seed) == (("core",), "real", 4)


@pytest.mark.parametrize("key", ["within: [none]", "defaults: none"])
def test_a_name_that_no_file_has_is_refused_with_its_place(place, key):
    at = place(a=f"{key}\n")
    said = refusal(lambda: load(str(at / "a.yaml")))
    assert said.startswith("a.yaml:3:1")
    assert "there is no policy `none`" in said
    assert "put none.yaml beside this file, or into the folder ceilings there" in said


def test_a_name_that_two_files_have_is_refused(place):
    at = place(a="within: [top]\n", top="", ceilings__top="")
    said = refusal(lambda: load(str(at / "a.yaml")))
    assert "within[0]: `top` is top.yaml and ceilings/top.yaml" in said


def test_the_folder_may_be_named_with_the_ceiling(place):
    at = place(
        a="within: [ceilings/top]\n" + both("read-write"),
        top=both("read-write"),
        ceilings__top=both("read"),
    )
    policy = load(str(at / "a.yaml"))
    assert not decide(policy, FileRequest(FileAction.WRITE, "/data/x")).allowed
    assert decide(policy, FileRequest(FileAction.READ, "/data/x")).allowed
    (at / "ceilings" / "top.yaml").unlink()
    assert "there is no policy `ceilings/top`" in refusal(lambda: load(str(at / "a.yaml")))


# Defaults that come with the package


@pytest.mark.parametrize(
    ("name", "cage", "image"),
    [("python", CageKind.WASM, "core"), ("native", CageKind.PROCESS, "native-data")],
)
def test_built_in_defaults_grant_nothing_and_keep_secrets_out_of_the_record(
    place, name, cage, image
):
    at = place(a=f"defaults: builtin/{name}\n")
    policy = load(str(at / "a.yaml"))
    assert (policy.cage, policy.images[0]) == (cage, image)
    assert set(policy.images) <= set(SHIPPED_IMAGES)
    assert (policy.filesystem, policy.network, policy.tools, policy.process) == ((), (), (), None)
    assert {"authorization", "*token*", "*api*key*"} <= set(policy.audit.redact)
    assert policy.rule("image").file == f"builtin/{name}.yaml"


def test_a_text_alone_may_name_built_in_defaults():
    text = "version: 1\nname: a\ndefaults: builtin/python\nlimits: {cells: 3}\n"
    policy = parse(text, file="a.yaml", base="/srv")
    assert (policy.images[0], policy.limits.cells) == ("core", 3)


def test_built_in_defaults_that_there_are_not_are_told_with_those_that_there_are(place):
    said = refusal(lambda: load(str(place(a="defaults: builtin/pythn\n") / "a.yaml")))
    assert "a.yaml:3:11: defaults: there is no `builtin/pythn`" in said
    assert "there are builtin/native, builtin/python" in said


def test_what_is_built_in_is_no_ceiling(place):
    said = refusal(lambda: load(str(place(a="within: [builtin/python]\n") / "a.yaml")))
    assert "write the name of a policy file beside this one, or ceilings/NAME" in said


@pytest.mark.parametrize("key", ["within: [{}]", "defaults: {}"])
def test_a_circle_is_refused(place, key):
    at = place(a=key.format("b") + "\n", b=key.format("c") + "\n", c=key.format("a") + "\n")
    assert "goes round in a circle: a.yaml -> b.yaml -> c.yaml -> a.yaml" in refusal(
        lambda: load(str(at / "a.yaml"))
    )
    assert "goes round in a circle" in refusal(lambda: load_directory(str(at)))
    alone = place(a=key.format("a") + "\n")
    assert "circle: a.yaml -> a.yaml" in refusal(lambda: load(str(alone / "a.yaml")))


def test_a_chain_has_an_end(place):
    files = {f"p{index}": f"within: [p{index + 1}]\n" for index in range(20)}
    at = place(**files, p20="")
    assert "is more than 16 files deep" in refusal(lambda: load(str(at / "p0.yaml")))
    assert load(str(at / "p10.yaml")).within[-1] == "p20"


def test_the_problems_of_a_ceiling_are_told_once(place):
    at = place(a="within: [top]\n", b="within: [top]\n", ceilings__top="netwerk: none\n")
    said = refusal(lambda: load_directory(str(at)))
    assert said.count("ceilings/top.yaml:3:1: unknown key `netwerk`") == 1


def test_problems_of_a_file_and_of_what_it_names_are_told_together(place):
    at = place(a="within: [none]\nimage: 7\n")
    said = refusal(lambda: load(str(at / "a.yaml")))
    assert "there is no policy `none`" in said
    assert "a.yaml:4:8: image" in said


def test_a_ceiling_is_read_with_the_care_of_a_policy(place):
    at = place(a="within: [top]\n", ceilings__top="")
    assert load(str(at / "a.yaml")).within == ("top",)
    (at / "ceilings" / "top.yaml").chmod(0o646)
    assert "can be written by everybody" in refusal(lambda: load(str(at / "a.yaml")))
    (at / "ceilings" / "top.yaml").chmod(0o644)
    (at / "ceilings").chmod(0o777)
    assert "can be written by everybody" in refusal(lambda: load(str(at / "a.yaml")))


def test_a_linked_ceiling_is_refused(place):
    at = place(a="within: [top]\n", ceilings__other="")
    (at / "ceilings" / "top.yaml").symlink_to("other.yaml")
    assert "cannot be opened" in refusal(lambda: load(str(at / "a.yaml")))


def test_a_ceiling_has_the_name_of_its_file(place):
    at = place(a="within: [top]\n", ceilings__top="")
    (at / "ceilings" / "top.yaml").write_text("version: 1\nname: other\n")
    assert "`other` is not the name of the file" in refusal(lambda: load(str(at / "a.yaml")))


def test_the_folder_of_ceilings_is_never_granted(place):
    at = place(a="filesystem: [{mount: /data, source: ./ceilings, access: read}]\n")
    assert "which the server protects" in refusal(lambda: load(str(at / "a.yaml")))
    assert "which the server protects" in refusal(lambda: load_directory(str(at)))
    assert load(str(place(a=both("read")) / "a.yaml")).name == "a"


@pytest.mark.parametrize("text", ["within: [top]\n", "defaults: top\n"])
def test_a_text_alone_names_no_other(text):
    with pytest.raises(PolicyError, match="this text lies in no directory"):
        parse(f"version: 1\nname: a\n{text}", file="a.yaml", base="/")


@pytest.mark.parametrize(
    "text", ["within: top", "within: []", "within: [../top]", "defaults: [a]", "within: [a.b]"]
)
def test_what_is_no_name_is_refused(place, text):
    assert "a.yaml:3:" in refusal(lambda: load(str(place(a=text + "\n") / "a.yaml")))


def test_no_descriptor_is_left_open(place):
    at = place(a="within: [top]\n", ceilings__top="", ceilings__bad="[")
    before = len(os.listdir("/proc/self/fd"))
    load_directory(str(at))
    load(str(at / "a.yaml"))
    refusal(lambda: load(str(place(a="within: [bad]\n") / "a.yaml")))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a-1", True),
        ("ceilings/a", True),
        ("builtin/a", True),
        ("a/b", False),
        ("/a", False),
        ("ceilings/", False),
        ("ceilings/a/b", False),
        ("ceilings/../a", False),
        ("../a", False),
        ("a.b", False),
        ("", False),
        ("\xe9", False),
    ],
)
def test_only_a_plain_name_names_a_file(name, plain):
    assert _is_plain(name) is plain


@pytest.mark.parametrize("count", [2, 16, 17, 18])
def test_a_chain_of_ceilings_is_sixteen_files_long_and_no_longer(place, count):
    chain = {f"p{index}": f"within: [p{index + 1}]\n" for index in range(1, count)}
    at = place(**chain, **{f"p{count}": ""})
    if count <= 16:
        assert len(load(str(at / "p1.yaml")).within) == count - 1
    else:
        assert "is more than 16 files deep" in refusal(lambda: load(str(at / "p1.yaml")))
