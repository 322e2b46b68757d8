"""
What a tool's confinement is made of; `tests/executor/images/test_tool_confinement.py` attacks it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux.confine import Confinement, Network, decode

ROOT = Path(__file__).resolve().parents[3]
WHOLE = Confinement(
    Network.OUTWARD, runs=("/a", "/b"), reads=("/c",), lists=(), changes=("/d é \udcff",)
)


def test_a_confinement_survives_the_command_line():
    assert decode(WHOLE.encode()) == WHOLE
    assert "\n" not in WHOLE.encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ValueError),
        ('{"network": "all", "runs": []}', ValueError),
        ('{"network": "none"}', TypeError),
        ('{"network": "none", "runs": [], "else": []}', TypeError),
    ],
)
def test_anything_else_is_refused(text, error):
    with pytest.raises(error):
        decode(text)


SCRIPT = """
import errno, os, sys
from executor.linux.confine import Confinement, Network, confine
from executor.linux.errors import MechanismError

def said(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

folder = sys.argv[1]
"""


def done(script: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT + script, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("field", ["runs", "reads", "lists", "changes"])
def test_a_path_that_is_not_there_is_an_error(field, tmp_path):
    fields = {"runs": ()} | {field: (str(tmp_path / "absent"),)}
    said = done(
        f"""
try:
    confine(Confinement(Network.NONE, **{fields!r}), with_landlock=True)
except MechanismError as error:
    print(error)
""",
        tmp_path,
    )
    assert said.startswith(f"Landlock: looking at {tmp_path / 'absent'} to grant ")


def test_a_link_grants_what_it_names_now(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "link").symlink_to("real")
    said = done(
        """
confine(Confinement(Network.NONE, (), changes=(folder + "/link",)), with_landlock=True)
print(*[said(lambda: os.mkdir(f"{folder}/{name}/made")) for name in ("real", "link", "beside")])
""",
        tmp_path,
    )
    assert said == "done EEXIST EACCES"


def test_without_landlock_files_stay_open_and_sockets_do_not(tmp_path):
    said = done(
        """
import socket
confine(Confinement(Network.NONE, ()), with_landlock=False)
print(said(lambda: os.mkdir(folder + "/made")), said(socket.socket))
""",
        tmp_path,
    )
    assert said == "done EPERM"


def test_a_confined_process_can_only_be_confined_more(tmp_path):
    said = done(
        """
inner = (folder + "/inner",)
os.mkdir(inner[0])
confine(Confinement(Network.NONE, (), changes=inner), with_landlock=True)
confine(Confinement(Network.OUTWARD, (), changes=inner), with_landlock=True)
import socket
print(said(lambda: os.mkdir(inner[0] + "/made")), said(lambda: os.mkdir(folder + "/made")))
print(said(socket.socket))
""",
        tmp_path,
    )
    assert said.split() == ["done", "EACCES", "EPERM"]
