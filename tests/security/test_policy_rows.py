"""
The rows Y01 to Y33 of the attack list, about policies: each attack as it would be tried. What each
part of the language says to each mistake is in `tests/policy/`; here is one of each, end to end.

Y31 and Y32 are `tests/e2e/test_policy_matrix.py`, Y22 is `tests/e2e/test_reload.py`.
"""

import itertools
import os
import random
from dataclasses import replace

import pytest

from policy.compare import compare
from policy.decide import compile_policy
from policy.effective import effective
from policy.errors import PolicyError
from policy.explain import explain
from policy.json_schema import json_schema
from policy.narrow import narrow
from policy.parse import load, load_directory, parse
from policy.requests import FileAction, FileRequest, NetworkRequest
from policy.types import Limits
from policy.validation import SECTIONS
from tests.policy import reference

HEAD = "version: 1\nname: a\n"
DATA = "filesystem: [{mount: /data, source: /srv/data, access: read}]\n"


def refused(text):
    with pytest.raises(PolicyError) as caught:
        parse(HEAD + text, file="a.yaml", base="/srv/policies")
    return caught.value.problems


def made(text=""):
    return parse(HEAD + text, file="a.yaml", base="/srv/policies")


@pytest.mark.parametrize(
    "text",
    [
        "limits: &a {cells: 1}\nrandom: *a\n",
        "limits: {<<: {cells: 1}}\n",
        "description: !!python/object/apply:os.system [id]\n",
        "disclose: true\ndisclose: false\n",
        "limits: " + "{a: " * 10_000 + "}" * 10_000 + "\n",
        "limits:\n\tcells: 1\n",
        "disclose: no\n",
        "limits: {cells: 0o17}\n",
        "limits: {cells: 1e3}\n",
        "limits: {cells: 1:30}\n",
    ],
)
def test_y01_yaml_that_means_more_than_it_says_is_refused(text):
    assert refused(text)[0].line


def test_y01_a_byte_order_mark_is_no_policy_that_means_something_else():
    with pytest.raises(PolicyError):
        parse("\ufeff\ufeff" + HEAD, file="a.yaml", base="/")


@pytest.mark.parametrize("size", ["1GB", "1GiB", "1e9", "-1", "inf", "NaN", str(2**63), "1 Gi"])
def test_y02_a_size_has_one_grammar(size):
    assert refused(f"limits: {{memory: {size}}}\n")[0].line == 3
    assert made("limits: {memory: 1Gi}\n").limits.memory == 2**30


def test_y03_a_key_that_is_not_known_is_an_error():
    assert "did you mean `network`?" in refused("netwrok: none\n")[0].message


@pytest.mark.parametrize("text", ["deny: /data\n", "image: {core: 1}\n", "tools: look\n"])
def test_y04_a_text_is_no_list_of_characters(text):
    assert "must be" in refused(text)[0].message


@pytest.mark.parametrize("text", ["", "filesystem: []\n", "network: []\n", "tools: []\n"])
def test_y05_what_is_empty_or_absent_grants_nothing(text):
    one = compile_policy(made(text))
    assert not one.decide(FileRequest(FileAction.READ, "/data/x")).allowed
    assert not one.decide(NetworkRequest("a.org", 443)).allowed
    assert made(text).limits == Limits()


def test_y06_a_denial_wins_whatever_the_order():
    lines = [
        "{mount: /work, source: scratch, access: read-write}",
        "{mount: /data, source: /srv/data, access: read, deny: [private]}",
        "{mount: /out, source: /srv/out, access: read-write}",
    ]
    for order in itertools.permutations(lines):
        one = compile_policy(made(f"filesystem: [{', '.join(order)}]\n"))
        assert not one.decide(FileRequest(FileAction.READ, "/data/private/x")).allowed
        assert one.decide(FileRequest(FileAction.READ, "/data/x")).allowed


@pytest.mark.parametrize(
    "glob", ["/data*", "../x", "~/x", "$HOME/x", "x/", "a/../b", "\uff0e\uff0e/x", "[a-z]"]
)
def test_y07_a_glob_that_leaves_its_mount_or_means_two_things_is_refused(glob):
    grant = f"{{mount: /data, source: /srv/data, access: read, deny: ['{glob}']}}"
    try:
        one = made(f"filesystem: [{grant}]\n")
    except PolicyError:
        return
    # A name of unusual characters is that name and no other.
    assert one.filesystem[0].deny == (glob,)
    assert compile_policy(one).decide(FileRequest(FileAction.READ, "/data/../etc")).allowed is False


@pytest.mark.parametrize(
    "host",
    ["*", "*.com", "*.co.uk", "http://x.org", "x.org/y", "1.2.3.4/0", '"[::]/0"', "x.org:443"],
)
def test_y08_a_host_is_a_name_and_never_everybody(host):
    assert refused(f"network: [{{host: {host if host[0] != '*' else repr(host)}}}]\n")


def test_y09_a_policy_narrows_to_its_ceiling_and_goes_round_in_no_circle(tmp_path):
    (tmp_path / "a.yaml").write_text(f"{HEAD}within: [top]\n{DATA}")
    with pytest.raises(PolicyError, match="there is no policy `top`"):
        load(str(tmp_path / "a.yaml"))
    (tmp_path / "top.yaml").write_text("version: 1\nname: top\n")
    assert load(str(tmp_path / "a.yaml")).filesystem == ()
    (tmp_path / "top.yaml").write_text("version: 1\nname: top\nwithin: [a]\n")
    with pytest.raises(PolicyError, match="circle"):
        load(str(tmp_path / "a.yaml"))


def test_y10_a_file_that_others_could_have_put_there_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(HEAD)
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, why in (("link.yaml", "cannot be opened"), ("pipe.yaml", "is not a regular file")):
        with pytest.raises(PolicyError, match=why):
            load(str(tmp_path / name))
    path.chmod(0o666)
    with pytest.raises(PolicyError, match="can be written by everybody"):
        load(str(path))
    path.chmod(0o600)
    path.write_text(HEAD + "#" * 2**20)
    with pytest.raises(PolicyError, match="is larger than"):
        load(str(path))
    path.write_text(HEAD)
    (tmp_path / "other.yml").write_text("x")
    with pytest.raises(PolicyError):
        load_directory(str(tmp_path))


def test_y11_a_digest_is_of_the_meaning_alone():
    one, other = made(f"{DATA}disclose: true\n"), made(f"disclose: true # said\n{DATA}")
    assert one.digest == other.digest
    assert made(DATA).digest != one.digest


def test_y12_what_is_explained_is_what_is_enforced():
    chance = random.Random(12)
    for _ in range(200):
        policy = reference.random_policy(chance)
        for _ in range(5):
            request = reference.random_request(chance)
            allowed = compile_policy(policy).decide(request).allowed
            assert allowed == reference.allows(policy, request)
            first = explain(policy, request).splitlines()[0]
            assert first.endswith(f" by policy {policy.name}")
            assert (": allowed by" in first or ": advised by" in first) == allowed


@pytest.mark.parametrize("source", ["/var/lib/audit/x", "/etc/codecage/policies", "/var/lib"])
def test_y20_the_servers_own_files_cannot_be_granted(source):
    grant = f"filesystem: [{{mount: /data, source: {source}, access: read}}]\n"
    with pytest.raises(PolicyError, match="dangerous grant"):
        parse(
            HEAD + grant,
            file="a.yaml",
            base="/srv",
            protected=("/var/lib/audit", "/etc/codecage/policies"),
        )


def test_y21_two_policies_together_allow_what_both_do():
    chance, met = random.Random(21), 0
    for _ in range(200):
        one, two = reference.random_policy(chance), reference.random_policy(chance, "top")
        try:
            both = compile_policy(narrow(one, two))
        except PolicyError:
            continue
        met += 1
        for _ in range(10):
            request = reference.random_request(chance)
            if both.decide(request).allowed:
                assert compile_policy(one).decide(request).allowed
                assert compile_policy(two).decide(request).allowed
    assert met > 20


RULES = {
    "deny": f"{DATA}deny: [{{path: /data/x}}]\n",
    "network": "network: [{host: a.org}]\n",
    "filesystem": DATA,
    "limits": "limits: {cells: 3}\n",
    "random": "random: {seed: 3}\n",
    "tools": "tools: [{name: look, arguments: {n: {max: 3}}}]\n",
    "after": f'{DATA}after: [{{event: "read /data/x", revoke: [network]}}]\n',
    "imports": "imports: {allow: [csv]}\n",
    "isolation": "cage: any\nimage: [core, native-core]\nisolation: {min: P4}\n",
    "process": "cage: any\nimage: [core, native-core]\nprocess: {fork: true}\n",
}


@pytest.mark.parametrize("section", sorted({place.split(".")[0] for place in SECTIONS} & {*RULES}))
def test_y30_a_rule_that_is_removed_is_missed(section):
    text = RULES[section]
    with_rule = made(text)
    rest = "\n".join(one for one in text.splitlines() if not one.startswith(f"{section}:"))
    without = made(f"{rest}\n" if rest else "")
    assert with_rule.digest != without.digest
    found = compare(with_rule, without)
    assert found.looser or found.tighter


def test_y33_what_is_in_force_is_shown_with_every_default():
    shown = effective(made())
    for section in ("deny", "filesystem", "network", "tools", "environment"):
        assert f"{section}:\n  none" in shown
    for name in Limits.__slots__:
        assert f"\n  {name} " in shown
    for word in ("mode enforce", "cage wasm", "image core", "clock real", "random fresh"):
        assert word in shown
    for key in SECTIONS[""].model_fields:
        assert f'"{key}"' in json_schema()
    assert effective(replace(made(), disclose=True)) != shown
