import json

import pytest

from executor import cli

OLD = """version: 1
name: old
filesystem:
  - {mount: /data, source: /srv/x, access: read, deny: ["*.key"]}
  - {mount: /out, source: /srv/out, access: read-write, quota: 1Mi}
network: [{host: api.example.com, http: [{paths: ["/v1/**"]}]}]
deny: [{path: /data/private, reason: Personal.}]
limits: {memory: 256Mi}
"""
NEW = """# Said in another order.
version: 1
name: new
limits: {memory: 1Gi, cells: 5}
network: [{host: api.example.com, http: [{paths: ["/v1/a/*", "/v2"]}]}]
filesystem:
  - {mount: /out, source: /srv/out, access: read-write, quota: 1Mi}
  - {mount: /data, source: /srv/x, access: read}
"""
CASES = """version: 1
policy: old.yaml
cases:
  - {request: "read /data/a", expect: allowed, rule: "filesystem[0]"}
  - {request: "read /data/a.key", expect: denied, rule: "filesystem[0].deny[0]"}
  - {request: "read /data/private/a", expect: denied, rule: "deny[0]"}
  - {request: "write /out/a", expect: allowed}
  - {request: "GET https://api.example.com/v1/x", expect: allowed, rule: "network[0].http[0]"}
  - {request: "connect api.example.com:443", expect: allowed}
"""


@pytest.fixture
def files(tmp_path):
    tmp_path.chmod(0o700)
    for name, text in (("old", OLD), ("new", NEW), ("cases", CASES), ("bad", "version: 2\n")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        path.chmod(0o600)
    return tmp_path


def run(*words):
    return cli.main(["policy", *map(str, words)])


def test_diff_says_what_became_looser_and_what_tighter(files, capsys):
    assert run("diff", files / "old.yaml", files / "new.yaml") == 1
    assert capsys.readouterr().out.splitlines() == [
        "looser:  now        /data: *.key may be seen",
        "looser:  now        api.example.com:443: GET /v2",
        "looser:  now        api.example.com:443: HEAD /v2",
        "looser:  now        deny: /data/private may be seen",
        "looser:  now        limits.memory: up to 1Gi, not 256Mi",
        "tighter: no longer  api.example.com:443: GET /v1/**",
        "tighter: no longer  api.example.com:443: HEAD /v1/**",
        "tighter: no longer  limits.cells: up to 1000, not 5",
    ]


def test_diff_of_the_same_meaning_says_so_and_a_tighter_one_is_fine(files, capsys):
    assert run("diff", files / "old.yaml", files / "old.yaml") == 0
    assert capsys.readouterr().out == "nothing became looser or tighter\n"
    (files / "new.yaml").write_text(OLD.replace("256Mi", "128Mi"))
    assert run("diff", files / "old.yaml", files / "new.yaml") == 0
    assert capsys.readouterr().out == "tighter: no longer  limits.memory: up to 256Mi, not 128Mi\n"


def test_diff_as_json(files, capsys):
    assert run("diff", "--json", files / "old.yaml", files / "new.yaml") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["looser"][0] == {"place": "/data", "text": "*.key may be seen"}
    assert len(told["tighter"]) == 3
    assert len(told["old"]) == 64


def test_show_writes_every_default_out(files, capsys):
    assert run("show", "--effective", files / "old.yaml") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("policy old, digest ")
    for line in (
        "  /data/private  Personal.",
        "  /data  read  /srv/x",
        "    deny *.key",
        "  /out  read-write  /srv/out  up to 1Mi and 1000 files",
        "  memory 256Mi",
        "  cpu_time 30s",
        "  clock real",
        "  addresses public",
    ):
        assert line in out or f"  {line}" in out, line
    assert run("show", "--effective", "--json", files / "old.yaml") == 0
    assert json.loads(capsys.readouterr().out)["limits"]["memory"] == 256 * 2**20


def test_cases_that_pass_name_the_rules_that_none_asks(files, capsys):
    assert run("test", files / "cases.yaml") == 0
    out = capsys.readouterr().out.splitlines()
    assert out == ["6 passed, 0 failed", "rules with a case: 6 of 6"]
    (files / "cases.yaml").write_text(CASES.replace('  - {request: "write /out/a"', "#"))
    assert run("test", files / "cases.yaml") == 0
    assert capsys.readouterr().out.endswith("5 of 6\nwithout a case: filesystem[1]\n")
    assert run("test", "--every-rule", files / "cases.yaml") == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('/data/a", expect: allowed', '/data/a", expect: denied', "is allowed by filesystem[0]"),
        ('rule: "deny[0]"', 'rule: "deny[1]"', "is denied by deny[0] (old.yaml:"),
    ],
)
def test_a_case_with_another_answer_fails_at_its_place(files, capsys, old, new, said):
    (files / "cases.yaml").write_text(CASES.replace(old, new))
    assert run("test", files / "cases.yaml") == 1
    out, err = capsys.readouterr()
    assert out.startswith("5 passed, 1 failed\n")
    assert err.startswith("cases.yaml:")
    assert said in err
    assert run("test", "--json", files / "cases.yaml") == 1
    assert len(json.loads(capsys.readouterr().out)["failures"]) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\ncases: []\n", "cases: must have an entry"),
        ("version: 1\ncases: [{request: fly, expect: denied}]\n", "cases[0].request: "),
        ("version: 1\ncases: [{request: run ls, expect: no}]\n", "means different things"),
        ("version: 1\ncases: [{reqest: run ls, expect: denied}]\n", "did you mean `request`?"),
        ("version: 1\npolicy: ../a.yaml\ncases: [{request: run x, expect: denied}]\n", "policy: "),
    ],
)
def test_what_is_no_file_of_cases_shows_its_problems(files, capsys, text, said):
    (files / "cases.yaml").write_text(text)
    assert run("test", files / "cases.yaml") == 1
    err = capsys.readouterr().err
    assert err.startswith("cases.yaml:")
    assert said in err


def test_cases_without_a_policy_are_wrong_usage(files, capsys):
    (files / "cases.yaml").write_text(CASES.replace("policy: old.yaml\n", ""))
    assert run("test", files / "cases.yaml") == 2
    assert "--policy FILE" in capsys.readouterr().err
    assert run("test", files / "cases.yaml", "--policy", files / "old.yaml") == 0


@pytest.mark.parametrize("words", [["show", "--effective"], ["diff", "{old}"]])
def test_what_is_no_policy_shows_its_problems(files, capsys, words):
    words = [word.format(old=files / "old.yaml") for word in words]
    assert run(*words, files / "bad.yaml") == 1
    assert "bad.yaml:1:" in capsys.readouterr().err
    assert run(*words, files / "bad.yaml", "--json") == 1
    assert json.loads(capsys.readouterr().out)["problems"]


def test_the_schema_knows_every_key_and_how_sizes_are_written(capsys):
    assert run("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"deny", "filesystem", "network", "within", "defaults"} <= set(schema["properties"])
    assert schema["required"] == ["version", "name"]
    assert schema["additionalProperties"] is False
    memory = schema["$defs"]["LimitsSection"]["properties"]["memory"]
    assert [one["type"] for one in memory["anyOf"]] == ["integer", "string"]
    assert schema["$defs"]["LimitsSection"]["properties"]["cells"]["maximum"] == 1_000_000
    assert {"none"} <= {one.get("const") for one in schema["properties"]["network"]["anyOf"]}
