import hashlib
import json

import pytest

from executor import cli

GOOD = "version: 1\nname: good\nfilesystem:\n  - {mount: /data, source: ./x, access: read}\n"
BAD = "version: 1\nname: bad\nnetwerk: none\nlimits: {memory: 1GB}\n"


@pytest.fixture
def files(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "x").mkdir()
    for name, text in (("good.yaml", GOOD), ("bad.yaml", BAD)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_check_accepts_a_policy(files, capsys):
    assert cli.main(["policy", "check", str(files / "good.yaml")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("good.yaml: policy good, digest ")
    assert err == ""


def test_check_shows_every_problem_with_a_caret_under_its_place(files, capsys):
    assert cli.main(["policy", "check", str(files / "bad.yaml"), str(files / "good.yaml")]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("good.yaml: policy good")
    assert "bad.yaml:3:1: " in err
    assert "     3 | netwerk: none\n       | ^" in err
    assert "bad.yaml:4:" in err


def test_check_json_lists_policies_and_problems(files, capsys):
    assert cli.main(["policy", "check", "--json", *map(str, files.glob("*.yaml"))]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [policy["name"] for policy in report["policies"]] == ["good"]
    assert [(one["file"], one["line"]) for one in report["problems"]] == [
        ("bad.yaml", 3),
        ("bad.yaml", 4),
    ]


def test_check_of_a_directory_takes_all_of_it_or_nothing(files, capsys):
    assert cli.main(["policy", "check", str(files)]) == 1
    assert capsys.readouterr().out == ""
    (files / "bad.yaml").unlink()
    assert cli.main(["policy", "check", str(files)]) == 0
    assert "policy good" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("request_text", "answer"),
    [("read /data/a.csv", "allowed"), ("write /data/a.csv", "denied"), ("run ls", "denied")],
)
def test_explain_shows_the_answer_and_its_rule(files, capsys, request_text, answer):
    assert cli.main(["policy", "explain", str(files / "good.yaml"), request_text]) == 0
    assert capsys.readouterr().out.startswith(f"{request_text}: {answer} by policy good\n")
    command = ["policy", "explain", str(files / "good.yaml"), request_text, "--json"]
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["allowed"] is (answer == "allowed")


def test_explain_of_a_file_that_is_no_policy_shows_its_problems(files, capsys):
    command = ["policy", "explain", str(files / "bad.yaml"), "read /data/a"]
    assert cli.main(command) == 1
    assert "bad.yaml:3:1: " in capsys.readouterr().err
    assert cli.main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["line"] == 3


def test_explain_of_something_that_is_no_request_is_wrong_usage(files, capsys):
    assert cli.main(["policy", "explain", str(files / "good.yaml"), "devour /data"]) == 2
    assert "devour" in capsys.readouterr().err


def test_check_warns_of_an_image_that_is_nearly_a_shipped_one_and_fails_nothing(files, capsys):
    policy = files / "good.yaml"
    policy.write_text("version: 1\nname: good\nimage: [core, dta]\n")
    assert cli.main(["policy", "check", str(policy)]) == 0
    assert "warning: good.yaml:3:1: image: `dta` does not come" in capsys.readouterr().err
    assert cli.main(["policy", "check", "--json", str(policy)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["policies"][0]["images"] == ["core", "dta"]
    assert [(one["line"], one["column"]) for one in report["doubts"]] == [(3, 1)]
    policy.write_text("version: 1\nname: good\nimage: [core, data]\n")
    assert cli.main(["policy", "check", str(policy)]) == 0
    assert capsys.readouterr().err == ""


def test_check_warns_of_a_source_that_is_no_directory_here_and_fails_nothing(files, capsys):
    (files / "x").rmdir()
    assert cli.main(["policy", "check", str(files / "good.yaml")]) == 0
    said = capsys.readouterr().err
    assert f"warning: good.yaml:4:5: filesystem[0]: the source {files}/x is no directory" in said
    (files / "x").write_text("")
    assert cli.main(["policy", "check", "--json", str(files / "good.yaml")]) == 0
    (doubt,) = json.loads(capsys.readouterr().out)["doubts"]
    assert (doubt["line"], doubt["column"]) == (4, 5)


def test_a_gates_program_that_is_not_the_one_named_is_warned_of(tmp_path, capsys):
    program, books, file = tmp_path / "gate.py", tmp_path / "books", tmp_path / "a.yaml"
    books.mkdir()
    program.write_text("pass\n")
    digest = hashlib.sha256(b"pass\n").hexdigest()
    file.write_text(
        f"version: 1\nname: a\ngates: {{one: {{program: {program}, sha256: '{digest}', image: core}}}}\n"
        f"filesystem:\n  - {{mount: /m, source: {books}, access: transaction, gate: one}}\n"
    )

    def doubts():
        assert cli.main(["policy", "check", str(file), "--json"]) == 0
        return [one["message"] for one in json.loads(capsys.readouterr().out)["doubts"]]

    assert doubts() == []
    program.write_text("print(1)\n")
    (message,) = doubts()
    assert f"and the policy names {digest}" in message
    program.unlink()
    (message,) = doubts()
    assert "cannot be read here" in message
