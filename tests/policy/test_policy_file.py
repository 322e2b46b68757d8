"""
Which files are policies at all (Y10), with a real file system.
"""

import os
from collections import namedtuple
from pathlib import Path

import pytest

from policy import policy_file
from policy.cases import load_cases, run_cases
from policy.document import MAX_BYTES
from policy.errors import PolicyError
from policy.parse import load, load_directory

TEXT = "version: 1\nname: {name}\nfilesystem: [{{mount: /data, source: {source}, access: read}}]\n"


def write(path: Path, name: str | None = None, source: str = "./data") -> Path:
    path.write_text(TEXT.format(name=name or path.stem, source=source), encoding="utf-8")
    path.chmod(0o644)
    return path


def refused(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load(str(path))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (0, 0)
    return problem.message


def test_a_plain_file_loads_and_shows_its_name_only(tmp_path):
    policy = load(str(write(tmp_path / "a.yaml")))
    assert policy.file == "a.yaml"
    assert policy.filesystem[0].source == str(tmp_path / "data")


def test_a_relative_path_of_the_file_gives_an_absolute_source(tmp_path, monkeypatch):
    write(tmp_path / "a.yaml")
    monkeypatch.chdir(tmp_path)
    assert load("a.yaml").filesystem[0].source == str(tmp_path / "data")


def test_sources_can_start_somewhere_else(tmp_path):
    path = str(write(tmp_path / "a.yaml"))
    assert load(path, base="/srv/tenant").filesystem[0].source == "/srv/tenant/data"
    policies = load_directory(str(tmp_path), base="/srv/tenant")
    assert policies["a"].filesystem[0].source == "/srv/tenant/data"


def test_a_symbolic_link_is_not_followed(tmp_path):
    write(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    assert refused(tmp_path / "b.yaml").startswith("cannot be opened: ")


def test_a_missing_file_and_an_impossible_name_are_refused(tmp_path):
    assert refused(tmp_path / "none.yaml") == "cannot be opened: No such file or directory"
    assert refused(Path("/x\0.yaml")) == "cannot be opened: embedded null byte"


def test_a_fifo_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    assert refused(tmp_path / "a.yaml") == "is not a regular file"


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "a.yaml").mkdir()
    assert refused(tmp_path / "a.yaml") == "is not a regular file"


def test_a_file_that_everybody_can_write_is_refused(tmp_path):
    path = write(tmp_path / "a.yaml")
    path.chmod(0o646)
    assert refused(path) == "can be written by everybody"


def test_a_file_of_another_user_is_refused(tmp_path):
    path = write(tmp_path / "a.yaml")
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)
    assert refused(path) == "belongs to user 12345"


def test_ownership_is_judged_by_the_descriptor_that_is_read():
    status = namedtuple("status", "st_uid st_mode")  # noqa: PYI024
    policy_file._check_owner(status(os.geteuid(), 0o100644), "f")
    policy_file._check_owner(status(0, 0o100664), "f")
    with pytest.raises(PolicyError, match="belongs to user"):
        policy_file._check_owner(status(os.geteuid() + 1, 0o100644), "f")


@pytest.mark.parametrize(("size", "loads"), [(256 * 1024, True), (256 * 1024 + 1, False)])
def test_a_file_is_read_up_to_its_largest_size(tmp_path, size, loads):
    path = write(tmp_path / "a.yaml")
    text = path.read_text()
    path.write_text(text + "#" * (size - len(text)))
    if loads:
        assert load(str(path)).name == "a"
    else:
        assert refused(path) == "is larger than 256 KiB"


def test_no_more_is_read_of_a_file_than_shows_that_it_is_too_large(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (4 * MAX_BYTES))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert len(policy_file._read(descriptor)) == MAX_BYTES + 1
    finally:
        os.close(descriptor)


def test_other_encodings_are_refused(tmp_path):
    path = write(tmp_path / "a.yaml")
    path.write_bytes(path.read_bytes() + b"# caf\xe9\n")
    assert refused(path) == f"is not UTF-8: byte {path.stat().st_size - 2} is 0xe9"


def test_no_descriptor_is_left_open(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    load(str(write(tmp_path / "a.yaml")))
    load_directory(str(tmp_path))
    (tmp_path / "b.yaml").write_text("[")
    with pytest.raises(PolicyError):
        load_directory(str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(PolicyError, match="can be written by everybody"):
        load_directory(str(tmp_path))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Where symbolic links lead (F30, Y20)


def test_a_source_that_links_to_a_dangerous_place_is_refused(tmp_path):
    (tmp_path / "data").symlink_to("/etc")
    with pytest.raises(PolicyError, match="dangerous grant: /etc is the host's configuration"):
        load(str(write(tmp_path / "a.yaml")))


def test_a_source_that_links_to_a_harmless_place_is_not(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to("real")
    assert load(str(write(tmp_path / "a.yaml"))).filesystem[0].source == str(tmp_path / "data")


def test_a_protected_directory_is_found_through_links_on_either_side(tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "data").symlink_to("audit")
    (tmp_path / "alias").symlink_to("audit")
    path = str(write(tmp_path / "a.yaml"))
    with pytest.raises(PolicyError, match="which the server protects"):
        load(path, (str(tmp_path / "audit"),))
    (tmp_path / "data").unlink()
    assert load(path, (str(tmp_path / "alias"),)).name == "a"
    path = str(write(tmp_path / "a.yaml", source="./audit"))
    with pytest.raises(PolicyError, match="which the server protects"):
        load(path, (str(tmp_path / "alias"),))


# Directories


def test_a_directory_loads_all_its_policies_and_nothing_else(tmp_path):
    write(tmp_path / "b.yaml")
    write(tmp_path / "a.yaml")
    (tmp_path / "README.md").write_text("Policies.")
    (tmp_path / "data").mkdir()
    assert {name: one.file for name, one in load_directory(str(tmp_path)).items()} == {
        "a": "a.yaml",
        "b": "b.yaml",
    }


def test_one_bad_file_leaves_no_policy_and_every_problem_is_told(tmp_path):
    write(tmp_path / "good.yaml")
    write(tmp_path / "other.yaml", name="another")
    write(tmp_path / "bad.yaml", source="/etc")
    (tmp_path / "link.yaml").symlink_to("good.yaml")
    with pytest.raises(PolicyError) as caught:
        load_directory(str(tmp_path))
    assert [problem.file for problem in caught.value.problems] == [
        "bad.yaml",
        "link.yaml",
        "other.yaml",
    ]
    assert "name: `another` is not the name of the file" in str(caught.value)


@pytest.mark.parametrize("name", ["a.yml", "a.YAML", "a.json", "a.Yml"])
def test_a_file_that_would_be_passed_over_in_silence_is_a_problem(tmp_path, name):
    write(tmp_path / "good.yaml")
    write(tmp_path / name)
    with pytest.raises(PolicyError, match=r"would be ignored: a policy's name ends in \.yaml"):
        load_directory(str(tmp_path))


def test_a_directory_that_everybody_can_write_is_refused(tmp_path):
    write(tmp_path / "a.yaml")
    assert set(load_directory(str(tmp_path))) == {"a"}
    tmp_path.chmod(0o777)
    with pytest.raises(PolicyError, match="can be written by everybody"):
        load_directory(str(tmp_path))


def test_a_link_to_a_directory_or_a_file_is_no_directory(tmp_path):
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "a.yaml")
    assert set(load_directory(str(tmp_path / "real"))) == {"a"}
    (tmp_path / "link").symlink_to("real")
    for path in (tmp_path / "link", tmp_path / "real" / "a.yaml"):
        with pytest.raises(PolicyError, match="cannot be opened"):
            load_directory(str(path))


def test_an_unprintable_name_cannot_forge_a_line(tmp_path):
    write(tmp_path / "a\nb.yaml", name="a")
    with pytest.raises(PolicyError) as caught:
        load_directory(str(tmp_path))
    assert str(caught.value).splitlines()[0].startswith(r"a\nb.yaml:2:1: name: `a` is not")


def test_cases_and_a_schema_may_lie_beside_policies(tmp_path):
    write(tmp_path / "a.yaml")
    cases = 'version: 1\npolicy: a.yaml\ncases: [{request: "read /data/x", expect: allowed}]\n'
    for name in ("cases.yaml", "a.cases.yaml"):
        (tmp_path / name).write_text(cases)
        (tmp_path / name).chmod(0o644)
    (tmp_path / "policy.schema.json").write_text("{}")
    assert list(load_directory(str(tmp_path))) == ["a"]
    loaded = load_cases(str(tmp_path / "a.cases.yaml"))
    assert run_cases(load(loaded.policy), loaded).failures == ()


@pytest.mark.parametrize("name", ["acases.yaml", "a.cases.yml", "Cases.YAML", "schema.json"])
def test_what_is_called_almost_so_is_no_file_of_cases(tmp_path, name):
    write(tmp_path / "a.yaml")
    (tmp_path / name).write_text("cases: []\n")
    (tmp_path / name).chmod(0o644)
    with pytest.raises(PolicyError):
        load_directory(str(tmp_path))


@pytest.mark.parametrize("name", ["cases.yaml", "a.cases.yaml"])
def test_a_policy_in_a_file_of_cases_is_not_passed_over_in_silence(tmp_path, name):
    write(tmp_path / "a.yaml")
    write(tmp_path / name, "cases")
    with pytest.raises(PolicyError) as caught:
        load_directory(str(tmp_path))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (name, 2)
    assert problem.message == "name: this is a policy, and a file of this name is one of cases"


def test_no_ceiling_is_a_file_of_cases(tmp_path):
    write(tmp_path / "a.yaml").write_text("version: 1\nname: a\nwithin: [cases]\n")
    (tmp_path / "cases.yaml").write_text("version: 1\nname: cases\n")
    (tmp_path / "cases.yaml").chmod(0o644)
    with pytest.raises(PolicyError, match="cases.yaml is a file of cases: choose another name"):
        load(str(tmp_path / "a.yaml"))
