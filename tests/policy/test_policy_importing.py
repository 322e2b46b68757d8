"""
Policies of other programs: what is carried over is a policy that grants no more than they did, and
what is not is said.
"""

import json

import pytest

from executor.cli import main
from policy.decide import decide
from policy.explain import parse_request
from policy.importing import NotImportedError, Origin, _cut, _Draft, _written, imported
from policy.parse import parse

SRT = {
    "network": {
        "allowedDomains": ["api.example.com", "*.example.org", "*", "bad.example.net"],
        "deniedDomains": ["bad.example.net"],
        "allowLocalBinding": True,
        "allowUnixSockets": [],
    },
    "filesystem": {
        "denyRead": ["~/.ssh", "/srv/out/private"],
        "allowWrite": [".", "./build", "/srv/out", "/etc", "src/**", "../up"],
        "denyWrite": ["/srv/out/config"],
    },
    "ignoreViolations": {"*": ["/usr/bin"]},
}
DENO = {
    "tasks": {"dev": "deno run main.ts"},
    "permissions": {
        "default": {
            "read": ["./data", "/srv/in"],
            "write": {"allow": ["/srv/in"], "deny": ["/srv/in/kept"]},
            "net": {"allow": ["api.example.com:443", "db.example.com:80", "x.org"]},
            "env": True,
            "run": False,
            "ffi": ["./lib.so"],
        }
    },
}
FLAGS = "deno run --allow-read --allow-net=a.org,b.org --deny-net=b.org --allow-write=./out main.ts"
SECCOMP = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [
        {"names": ["read", "write", "fork", "execve", "socket"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0}]},
        {"names": ["ptrace"], "action": "SCMP_ACT_KILL"},
    ],
}
CASES = {
    "srt": (Origin.SRT, json.dumps(SRT)),
    "deno": (Origin.DENO, json.dumps(DENO)),
    "deno-flags": (Origin.DENO, FLAGS),
    "docker-seccomp": (Origin.DOCKER_SECCOMP, json.dumps(SECCOMP)),
}


def loaded(name):
    return parse(imported(*CASES[name], "imported"), file="imported.yaml", base="/project")


@pytest.mark.parametrize("name", CASES)
def test_what_is_imported_reads_like_this_and_is_a_policy(expected, name):
    expected(f"import-{name}", imported(*CASES[name], "imported"))
    assert loaded(name).name == "imported"


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("srt", "connect api.example.com:443", True),
        ("srt", "connect a.example.org:443", True),
        ("srt", "connect api.example.com:22", False),
        ("srt", "connect bad.example.net:443", False),
        ("srt", "write /srv/out/x", True),
        ("srt", "write /srv/out/config", False),
        ("srt", "read /srv/out/private/x", False),
        ("srt", "write /etc/passwd", False),
        ("srt", "read /home/me/.ssh/id", False),
        ("deno", "read /project-data/x", True),
        ("deno", "write /project-data/x", False),
        ("deno", "write /srv/in/x", True),
        ("deno", "write /srv/in/kept", False),
        ("deno", "GET http://db.example.com/", True),
        ("deno", "connect db.example.com:443", False),
        ("deno-flags", "connect a.org:443", True),
        ("deno-flags", "connect b.org:443", False),
        ("deno-flags", "read /srv/x", False),
        ("docker-seccomp", "run fork", True),
        ("docker-seccomp", "run /bin/sh", False),
        ("docker-seccomp", "connect a.org:443", False),
    ],
)
def test_it_allows_what_was_allowed_and_no_more(name, text, allowed):
    assert decide(loaded(name), parse_request(text)).allowed is allowed


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (Origin.SRT, "{"),
        (Origin.SRT, "[]"),
        (Origin.SRT, "[" * 100_000),
        (Origin.SRT, '{"network": {"allowedDomains": "a.org"}}'),
        (Origin.SRT, '{"filesystem": []}'),
        (Origin.DENO, '{"permissions": []}'),
        (Origin.DENO, "--allow-read=/srv --deny-read"),
        (Origin.DOCKER_SECCOMP, "{}"),
        (Origin.DOCKER_SECCOMP, '{"defaultAction": "SCMP_ACT_ALLOW"}'),
        (Origin.DOCKER_SECCOMP, '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [3]}'),
    ],
)
def test_what_is_something_else_is_refused(origin, text):
    with pytest.raises(NotImportedError):
        imported(origin, text, "imported")


def test_entries_that_do_not_go_together_are_not_both_kept():
    text = imported(Origin.DENO, "--allow-write=/srv --allow-read=/srv/in", "imported")
    assert [one.mount for one in parse(text, file="imported.yaml", base="/p").filesystem] == [
        "/srv"
    ]
    assert "#   --allow-read=/srv/in: " in text


@pytest.mark.parametrize(
    ("path", "denied"),
    [
        *(("/srv/out", "/srv"), ("/srv/out", "/srv/out/"), ("/srv/out", "/")),
        *(("./out", "."), ("./out", "out"), ("./out", "../.."), ("./out", "/")),
    ],
)
def test_what_lies_in_something_denied_is_left_out(path, denied):
    settings = {"filesystem": {"allowWrite": [path], "denyRead": [denied]}}
    text = imported(Origin.SRT, json.dumps(settings), "imported")
    assert parse(text, file="imported.yaml", base="/p").filesystem == ()


def test_a_denial_that_cannot_be_compared_is_named():
    text = imported(*CASES["srt"], "imported")
    assert "#   the denial of ~/.ssh: see that it does not lie in /srv/out" in text
    settings = {"filesystem": {"allowWrite": ["./out"], "denyWrite": ["../here/out/kept"]}}
    text = imported(Origin.SRT, json.dumps(settings), "imported")
    assert "#   the denial of ../here/out/kept: see that it does not lie in /project-out" in text


@pytest.mark.parametrize(
    ("allowed", "denied", "others"),
    [
        ("A.example.org", "a.example.org", {"c.example.net"}),
        ("a.example.org", "A.Example.org.", {"c.example.net"}),
        ("a.example.org", "a.example.org:443", {"c.example.net"}),
        ("a.example.org", "*.example.org", {"c.example.net"}),
        ("*.a.example.org", "b.a.example.org", {"c.example.net"}),
        # What cannot be compared with a host might hold every one.
        ("a.example.org", "*", set()),
        ("a.example.org", "10.0.0.0/8", set()),
        ("a.example.org", "[::1]:443", set()),
    ],
)
def test_a_host_that_a_denial_holds_or_might_hold_is_left_out(allowed, denied, others):
    flags = f"--allow-net={allowed},c.example.net --deny-net={denied}"
    text = imported(Origin.DENO, flags, "imported")
    assert {one.host for one in parse(text, file="imported.yaml", base="/p").network} == others
    assert f"#   --allow-net={allowed}: " in text


def test_a_name_that_is_none_is_refused():
    with pytest.raises(NotImportedError, match="a name is"):
        imported(Origin.SRT, "{}", "No Name")


def test_nothing_can_be_smuggled_into_the_file():
    hostile = 'a.org"}\n  - {host: evil.org'
    text = imported(Origin.SRT, json.dumps({"network": {"allowedDomains": [hostile]}}), "imported")
    assert parse(text, file="imported.yaml", base="/p").network == ()


@pytest.mark.parametrize(
    ("place", "cut"),
    [
        ("A.org:443", ("a.org", "443")),
        ("a.org.", ("a.org", "")),
        ("a.org:x", ("a.org:x", "")),
        ("443", ("443", "")),
    ],
)
def test_a_place_is_cut_where_digits_say_a_port(place, cut):
    assert _cut(place) == cut


@pytest.mark.parametrize("length", [119, 120, 121])
def test_a_comment_shows_120_characters_of_what_an_entry_comes_from(length):
    draft = _Draft()
    name = "x" * length
    draft.leave_out(name, "y" * (length + 180))
    draft.add("filesystem", "mount: /a, source: /a, access: read", name)
    told, why = name[:120], "y" * min(300, length + 180)
    more = "..." if length > 120 else ""
    assert draft.left_out == [f"{told}{more}: {why}{more}"]
    assert f"  # {told}{more}\n  - {{mount" in _written(draft)


def test_an_entry_that_is_none_is_left_out_with_what_is_wrong_and_what_to_write():
    draft = _Draft()
    draft.add("filesystem", "mount: /a, source: /a, access: all", "it")
    (told,) = draft.left_out
    assert told.startswith("it: filesystem[0].access: cannot be `all`; write read, ")
    assert draft.problem() == ""


def test_the_command_prints_it(tmp_path, capsys):
    (tmp_path / "s.json").write_text(json.dumps(SRT))
    assert main(["policy", "import", "--from", "srt", str(tmp_path / "s.json")]) == 0
    assert capsys.readouterr().out == imported(Origin.SRT, json.dumps(SRT), "imported")
    assert main(["policy", "import", "--from", "srt", "--json", str(tmp_path / "s.json")]) == 0
    assert json.loads(capsys.readouterr().out)["policy"].startswith("version: 1\n")
    assert main(["policy", "import", "--from", "srt", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


def left_out(text):
    lines = text.partition("# Left out, because nothing here means the same or less:\n")[2]
    return [line.removeprefix("#   ") for line in lines.splitlines()]


def of_deno(**kinds):
    return imported(Origin.DENO, json.dumps({"permissions": {"default": kinds}}), "a")


def test_what_names_no_directory_is_no_grant_and_is_said():
    outside = "a pattern or a path outside names no directory that can be mounted"
    found = of_deno(read=["../up", "a*", "/srv/a[b]", ".", "/srv/in", "./data"])
    assert [(one.mount, one.source) for one in parse(found, file="a", base="/b").filesystem] == [
        ("/srv/in", "/srv/in"),
        ("/project-data", "/b/data"),
    ]
    assert left_out(found) == [
        *(f"--allow-read={one}: {outside}" for one in ("../up", "a*", "/srv/a[b]")),
        "--allow-read=.: the directory of the policy itself is never granted: name one in it",
    ]


@pytest.mark.parametrize(
    ("denied", "granted"),
    [(["/srv/in"], ["/project-data"]), (["."], []), (["/srv"], ["/project-data"])],
)
def test_what_is_denied_as_well_is_no_grant_and_is_said(denied, granted):
    found = of_deno(read={"allow": ["/srv/in", "data"], "deny": denied})
    one = parse(found, file="a", base="/b")
    assert [grant.mount for grant in one.filesystem] == granted
    told = [line for line in left_out(found) if line.endswith(": it is denied as well")]
    assert len(told) == 2 - len(granted)


@pytest.mark.parametrize(
    ("names", "fork", "told"),
    [
        (["read"], False, []),
        (["clone", "fork", "read"], True, []),
        (["read", "execve"], False, ["execve"]),
        (["socket"], False, ["socket, connect"]),
        (["clone", "execveat", "connect"], True, ["execve", "socket, connect"]),
    ],
)
def test_of_a_profile_of_calls_only_what_it_allows_is_carried_over(names, fork, told):
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }
    found = imported(Origin.DOCKER_SECCOMP, json.dumps(profile), "a")
    assert ("process: {fork: true}" in found) is fork
    forks = [name for name in ("clone", "fork") if name in names]
    assert not fork or f"# {', '.join(forks)}\n" in found
    assert [line.partition(": ")[0] for line in left_out(found)] == [*told, f"{len(names)} calls"]


@pytest.mark.parametrize("value", [False, {"allow": False}, {}, {"deny": []}])
def test_a_permission_that_is_not_given_grants_nothing(value):
    found = of_deno(read=value, net=value)
    one = parse(found, file="a", base="/b")
    assert (one.filesystem, one.network, left_out(found)) == ((), (), [])
