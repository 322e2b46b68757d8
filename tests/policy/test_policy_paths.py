"""
Paths of a policy and of a request: the longest, the shortest, and what only looks like one.
"""

import os
import pwd

import pytest

from policy.paths import (
    MAX_PATH,
    dangerous_source,
    is_normalised,
    is_within,
    program_problem,
    source_problem,
)


@pytest.mark.parametrize("problem", [source_problem, program_problem])
@pytest.mark.parametrize("length", [1023, 1024, 1025])
def test_a_path_of_a_policy_has_at_most_1024_characters(problem, length):
    found = problem("/" + "a" * (length - 1))
    assert (found is None) == (length <= 1024)
    assert found is None or found[0] == "a path has 1 to 1024 characters"


@pytest.mark.parametrize(
    "path", ["/srv/\ufb01le", "/srv/cafe\u0301", "/srv/\u2460", "/srv/a.b", "/", "./a", "scratch"]
)
def test_a_path_of_any_script_is_one(path):
    assert source_problem(path) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "1 to 1024"),
        ("/srv/a\0b", "printable"),
        ("~/a", "not expanded"),
        ("/srv/$HOME", "not expanded"),
        ("/srv/../etc", "not normalised"),
        ("/srv/./a", "not normalised"),
        ("/srv//a", "not normalised"),
        ("/srv/", "not normalised"),
        ("/srv/\uff0e\uff0e/a", "looks like a dot or a slash"),
        ("/srv\uff0fetc", "looks like a dot or a slash"),
        ("/srv/\u2025", "looks like a dot or a slash"),
        ("srv", "not clear what it is relative to"),
        ("./../a", "not normalised"),
        ("./", "1 to 1024"),
    ],
)
def test_what_is_no_source_is_refused_with_its_reason(path, why):
    assert why in source_problem(path)[0]


@pytest.mark.parametrize(
    ("path", "holder", "within"),
    [
        ("/a", "/a", True),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
        ("/a", "/", True),
        ("/", "/", True),
        ("/", "/a", False),
    ],
)
def test_a_path_is_within_another_by_components(path, holder, within):
    assert is_within(path, holder) is within


@pytest.mark.parametrize(
    ("path", "normalised"),
    [
        ("/", True),
        ("/a", True),
        ("/.a/b.", True),
        ("/...", True),
        ("/a/", False),
        ("//", False),
        ("/a//b", False),
        ("/.", False),
        ("/a/..", False),
        ("/a/./b", False),
        ("/a\0", False),
        ("", False),
        ("a", False),
        ("/" + "a" * (MAX_PATH - 1), True),
        ("/" + "a" * MAX_PATH, False),
    ],
)
def test_a_path_of_a_request_is_absolute_normalised_and_not_too_long(path, normalised):
    assert is_normalised(path) is normalised


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/", "holds"),
        ("/etc", "is the host's configuration"),
        ("/etc/x", "lies in /etc"),
        ("/home", "is the homes"),
        ("/home/ann", "is or holds a home directory"),
        ("/home/ann/.ssh", "dot files of a home directory"),
        ("/home/ann/.config/x", "dot files of a home directory"),
        ("/root/.ssh", "dot files of a home directory"),
        ("/srv/own", "overlaps /srv/own/audit"),
        ("/srv/own/audit/x", "overlaps /srv/own/audit"),
        ("srv", "is not an absolute, normalised path"),
        ("/srv/..", "is not an absolute, normalised path"),
    ],
)
def test_a_directory_that_gives_the_host_away_is_no_source(path, why):
    assert why in dangerous_source(path, ("/srv/own/audit",))[0]


@pytest.mark.parametrize("path", ["/srv/own/data", "/srv/etc", "/home/ann/data", "/home/ann/a.b"])
def test_a_directory_of_data_is_a_source(path):
    assert dangerous_source(path, ("/srv/own/audit",), writable=True) is None


@pytest.mark.parametrize("path", ["/usr/share/x", "/lib/x", "/var/lib/x", "/var/spool/x"])
def test_programs_and_states_of_services_may_be_read_and_not_written(path):
    assert dangerous_source(path) is None
    assert "lies in" in dangerous_source(path, writable=True)[0]


def test_the_home_of_the_servers_user_is_found_without_its_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/nowhere")
    entry = pwd.getpwuid(os.geteuid())
    moved = pwd.struct_passwd((*entry[:5], "/srv/service/", *entry[6:]))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: moved)
    assert "home directory" in dangerous_source("/srv/service")[0]
    assert "dot files" in dangerous_source("/srv/service/.ssh")[0]
    assert dangerous_source("/srv/service/data") is None
    assert dangerous_source("/nowhere") is None
