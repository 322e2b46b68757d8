import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux import landlock
from executor.linux.errors import MechanismFailed
from executor.linux.landlock import (
    FileAccess,
    Handled,
    NetworkAccess,
    PathRule,
    Reach,
    Scope,
    beneath,
    handled_by,
)

ROOT = Path(__file__).resolve().parents[3]
PRELUDE = """
import errno, os, signal, socket, sys
from executor.linux import landlock, seccomp
from executor.linux.errors import MechanismError
from executor.linux.filters import ALLOW, Action, Filter, Refuse, Verdict, compile_filter
from executor.linux.landlock import FileAccess, Handled, NetworkAccess, PathRule, PortRule, Scope

def said(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def failing(*arguments, **named):
    try:
        landlock.restrict(*arguments, **named)
    except MechanismError as error:
        print(type(error).__name__, error)
    print(said(lambda: os.listdir("/")))
"""


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + script, *arguments],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_without_a_rule_nothing_of_the_file_system_is_left(tmp_path):
    (tmp_path / "file").write_text("content")
    said = run(
        """
path = sys.argv[1]
acts = [
    lambda: os.close(os.open(path + "/file", os.O_RDONLY)),
    lambda: os.close(os.open(path + "/file", os.O_WRONLY)),
    lambda: os.truncate(path + "/file", 0),
    lambda: os.listdir(path),
    lambda: os.mkdir(path + "/made"),
    lambda: os.symlink("x", path + "/link"),
    lambda: os.mkfifo(path + "/fifo"),
    lambda: os.rename(path + "/file", path + "/other"),
    lambda: os.unlink(path + "/other"),
    lambda: os.rmdir(path + "/made"),
    lambda: os.unlink(path + "/link"),
    lambda: os.unlink(path + "/fifo"),
]
print(*[said(act) for act in acts])
for name in ("file", "other"):
    os.close(os.open(path + "/" + name, os.O_CREAT | os.O_WRONLY))
os.mkdir(path + "/made")
landlock.restrict()
print(*[said(act) for act in acts[:4]], said(acts[7]), said(acts[8]), said(acts[9]))
print(said(lambda: os.mkdir(path + "/again")), said(lambda: os.symlink("x", path + "/again")))
""",
        str(tmp_path),
    )
    free, *locked = said.split("\n")
    assert free.split() == ["done"] * 12
    assert " ".join(locked).split() == ["EACCES"] * 9


def test_a_rule_grants_what_it_names_and_nothing_beside_it(tmp_path):
    for name in ("granted", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    said = run(
        """
path = sys.argv[1]
landlock.restrict([PathRule(path + "/granted", FileAccess.READ_FILE)])
for name, flags in (("granted", os.O_RDONLY), ("granted", os.O_WRONLY), ("beside", os.O_RDONLY)):
    print(said(lambda: os.close(os.open(f"{path}/{name}/file", flags))))
print(said(lambda: os.close(os.open(f"{path}/granted/../beside/file", os.O_RDONLY))))
""",
        str(tmp_path),
    )
    assert said.split() == ["done", "EACCES", "EACCES", "EACCES"]


def test_what_is_not_handled_stays_free(tmp_path):
    (tmp_path / "file").write_text("content")
    said = run(
        """
path = sys.argv[1] + "/file"
landlock.restrict(handled=Handled(FileAccess.WRITE_FILE, NetworkAccess(0), Scope(0)))
print(said(lambda: os.close(os.open(path, os.O_RDONLY))))
print(said(lambda: os.close(os.open(path, os.O_WRONLY))))
""",
        str(tmp_path),
    )
    assert said.split() == ["done", "EACCES"]


@pytest.mark.skipif(landlock.abi() < 4, reason="this kernel's Landlock has no network rights")
def test_a_port_rule_grants_that_port_alone():
    said = run("""
listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
ports = [each.getsockname()[1] for each in listening]
def reach(port):
    return said(lambda: socket.create_connection(("127.0.0.1", port)).close())
print(reach(ports[0]), reach(ports[1]))
landlock.restrict([PortRule(ports[0], NetworkAccess.CONNECT_TCP)])
print(reach(ports[0]), reach(ports[1]))
print(said(lambda: socket.create_server(("127.0.0.1", 0)).close()))
os._exit(0) if sys.stdout.flush() is None else None
""")
    assert said.split() == ["done", "done", "done", "EACCES", "EACCES"]


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's Landlock has no scopes")
def test_signals_and_abstract_sockets_stay_inside():
    said = run("""
name = b"\\0codecage-test-" + os.urandom(8).hex().encode()
outside = socket.socket(socket.AF_UNIX)
outside.bind(name)
outside.listen()
def reach():
    return said(lambda: socket.socket(socket.AF_UNIX).connect(name))
def signal_parent():
    return said(lambda: os.kill(os.getppid(), 0))
import warnings; warnings.simplefilter("ignore")
print(reach(), signal_parent())
landlock.restrict()
print(reach(), signal_parent())
""")
    assert said.split() == ["done", "done", "EPERM", "EPERM"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            "[PathRule('/nonexistent-directory', FileAccess.READ_FILE)]",
            "MechanismFailed Landlock: adding PathRule(",
        ),
        (
            "[PortRule(70_000, NetworkAccess.BIND_TCP)]",
            "MechanismFailed Landlock: adding PortRule(",
        ),
        ("[PathRule('/', FileAccess(0))]", "MechanismFailed Landlock: PathRule("),
        (
            (
                "[PathRule('/', FileAccess.EXECUTE)],"
                " handled=Handled(FileAccess.READ_FILE, NetworkAccess(0), Scope(0))"
            ),
            "MechanismFailed Landlock: PathRule(",
        ),
        (
            "handled=Handled(FileAccess(1 << 40), NetworkAccess(0), Scope(0))",
            "MechanismMissing Landlock: ABI ",
        ),
    ],
)
def test_what_cannot_be_enforced_is_an_error_and_changes_nothing(arguments, error):
    said, after = run(f"failing({arguments})").split("\n")
    assert said.startswith(error)
    assert after == "done"


@pytest.mark.parametrize(
    ("call", "number", "error"),
    [
        ("landlock_create_ruleset", "ENOSYS", "MechanismMissing Landlock: this kernel does not"),
        (
            "landlock_create_ruleset",
            "EOPNOTSUPP",
            "MechanismMissing Landlock: this kernel does not",
        ),
        ("landlock_create_ruleset", "EPERM", "MechanismMissing Landlock: this kernel does not"),
        ("landlock_create_ruleset", "EIO", "MechanismFailed Landlock: asking for its version"),
        ("landlock_restrict_self", "E2BIG", "MechanismFailed Landlock: restricting this thread"),
        ("landlock_restrict_self", "ENOSYS", "MechanismMissing Landlock: restricting this thread"),
    ],
)
def test_a_kernel_that_refuses_is_named(call, number, error):
    said, after = run(f"""
rows = (Refuse("{call}", "x", Action(Verdict.ERRNO, errno.{number})),)
seccomp.install(compile_filter(Filter("x", rows, ALLOW), os.getpid()), tsync=True)
failing()
""").split("\n")
    assert said.startswith(error)
    assert after == "done"


def test_a_symbolic_link_is_not_followed_to_what_it_names(tmp_path):
    (tmp_path / "link").symlink_to("/etc")
    said = run(
        """
try:
    landlock.restrict([PathRule(sys.argv[1] + "/link", FileAccess.READ_FILE)])
except MechanismError as error:
    print("refused")
print(said(lambda: os.close(os.open("/etc/passwd", os.O_RDONLY))))
""",
        str(tmp_path),
    )
    # The kernel may take the link itself as the object; what it points to is not granted.
    assert said in {"refused\ndone", "EACCES"}


@pytest.mark.parametrize(
    ("version", "files", "network", "scopes"),
    [
        (1, 2**13 - 1, 0, 0),
        (2, 2**14 - 1, 0, 0),
        (3, 2**15 - 1, 0, 0),
        (4, 2**15 - 1, 3, 0),
        (5, 2**16 - 1, 3, 0),
        (6, 2**16 - 1, 3, 3),
        (7, 2**16 - 1, 3, 3),
        (9, 2**17 - 1, 3, 3),
        (99, 2**17 - 1, 3, 3),
    ],
)
def test_each_abi_handles_what_it_has(version, files, network, scopes):
    assert landlock.handled_by(version) == Handled(
        FileAccess(files), NetworkAccess(network), Scope(scopes)
    )


ALL = handled_by(99)
OLDEST = handled_by(1)


@pytest.mark.parametrize(
    ("reach", "of_a_directory", "of_a_file"),
    [
        (Reach.LIST, "READ_DIR", None),
        (Reach.READ, "READ_FILE READ_DIR", "READ_FILE"),
        (Reach.RUN, "READ_FILE READ_DIR EXECUTE", "READ_FILE EXECUTE"),
        (
            Reach.UPDATE,
            "READ_FILE READ_DIR WRITE_FILE TRUNCATE",
            "READ_FILE WRITE_FILE TRUNCATE",
        ),
        (
            Reach.CHANGE,
            (
                "READ_FILE READ_DIR WRITE_FILE TRUNCATE MAKE_REG MAKE_DIR MAKE_SYM REMOVE_FILE"
                " REMOVE_DIR REFER"
            ),
            "READ_FILE WRITE_FILE TRUNCATE",
        ),
    ],
)
def test_a_reach_is_what_fits_a_directory_or_a_file(reach, of_a_directory, of_a_file, tmp_path):
    def access(names):
        return FileAccess(sum(FileAccess[name] for name in names.split()))

    file = tmp_path / "file"
    file.touch()
    assert beneath(str(tmp_path), reach, ALL) == PathRule(str(tmp_path), access(of_a_directory))
    if of_a_file is None:
        with pytest.raises(MechanismFailed, match=f"{reach.name} on {file} grants nothing"):
            beneath(str(file), reach, ALL)
    else:
        assert beneath(str(file), reach, ALL) == PathRule(str(file), access(of_a_file))


def test_what_this_kernel_does_not_handle_is_not_granted(tmp_path):
    granted = beneath(str(tmp_path), Reach.CHANGE, OLDEST).access
    assert not granted & (FileAccess.REFER | FileAccess.TRUNCATE)
    assert granted & FileAccess.WRITE_FILE


def test_a_rule_beneath_a_link_names_what_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert beneath(str(tmp_path / "link"), Reach.READ, ALL).path == str(tmp_path / "real")


def test_a_rule_beneath_nothing_is_refused(tmp_path):
    with pytest.raises(MechanismFailed, match="answered ENOENT"):
        beneath(str(tmp_path / "absent"), Reach.READ, ALL)


def test_each_reach_allows_what_it_says_and_no_more(tmp_path):
    for name in ("LIST", "READ", "UPDATE", "CHANGE", "nothing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    said = run(
        """
from executor.linux.landlock import Reach
path = sys.argv[1]
handled = landlock.handled_by(landlock.abi())
landlock.restrict([
    landlock.beneath(f"{path}/{reach.name}", reach, handled)
    for reach in (Reach.LIST, Reach.READ, Reach.UPDATE, Reach.CHANGE)
])
for name in ("LIST", "READ", "UPDATE", "CHANGE", "nothing"):
    at = f"{path}/{name}"
    print(
        said(lambda: os.listdir(at)),
        said(lambda: os.close(os.open(at + "/file", os.O_RDONLY))),
        said(lambda: os.close(os.open(at + "/file", os.O_WRONLY))),
        said(lambda: os.truncate(at + "/file", 0)),
        said(lambda: os.mkdir(at + "/made")),
        said(lambda: os.unlink(at + "/file")),
        said(lambda: os.mkfifo(at + "/fifo")),
    )
""",
        str(tmp_path),
    )
    assert [line.split() for line in said.split("\n")] == [
        ["done"] + ["EACCES"] * 6,
        ["done"] * 2 + ["EACCES"] * 5,
        ["done"] * 4 + ["EACCES"] * 3,
        ["done"] * 6 + ["EACCES"],
        ["EACCES"] * 7,
    ]
