"""
For each right that a rule of Landlock gives a box: something that needs it, and says so.

Each says "done" in a box that has the right. The guest's own places are found by what a guest has:
the working directory, HOME, TMPDIR.
"""

import os
import subprocess
from pathlib import Path

DONE = "done"
OWN = {
    "work": lambda: "." if os.path.isdir("/work") else os.getcwd(),
    "home": lambda: os.environ["HOME"],
    "temporary": lambda: os.environ.get("TMPDIR", "/tmp"),
    "shared": lambda: "/dev/shm",
}


def _make(place):
    Path(place, "made").touch()


def _read(place):
    # Made without reading it.
    _make(place)
    Path(place, "made").read_bytes()


def _write(place):
    os.close(os.open(f"{place}/made", os.O_CREAT | os.O_RDONLY, 0o600))
    os.close(os.open(f"{place}/made", os.O_WRONLY))


def _truncate(place):
    _make(place)
    os.truncate(f"{place}/made", 1)


def _directory(place):
    os.mkdir(f"{place}/directory")


def _link(place):
    os.symlink("x", f"{place}/link")


def _remove(place):
    os.close(os.open(f"{place}/made", os.O_CREAT | os.O_RDONLY, 0o600))
    os.unlink(f"{place}/made")


def _remove_directory(place):
    os.mkdir(f"{place}/directory")
    os.rmdir(f"{place}/directory")


def _move(place):
    os.mkdir(f"{place}/directory")
    os.close(os.open(f"{place}/made", os.O_CREAT | os.O_RDONLY, 0o600))
    os.rename(f"{place}/made", f"{place}/directory/made")


OF_OWN = {
    "READ_FILE": _read,
    "READ_DIR": os.listdir,
    "WRITE_FILE": _write,
    "TRUNCATE": _truncate,
    "MAKE_REG": _make,
    "MAKE_DIR": _directory,
    "MAKE_SYM": _link,
    "REMOVE_FILE": _remove,
    "REMOVE_DIR": _remove_directory,
    "REFER": _move,
}


def _open(path, flags):
    os.close(os.open(path, flags))


def _run(program):
    subprocess.run([program], check=True)


ELSEWHERE = {
    "need_root_READ_DIR": lambda: os.listdir("/"),
    "need_etc_READ_FILE": lambda: _open("/etc/passwd", os.O_RDONLY),
    "need_view_READ_FILE": lambda: _open("/usr/bin/env", os.O_RDONLY),
    "need_view_READ_DIR": lambda: os.listdir("/usr"),
    "need_program_EXECUTE": lambda: _run("/usr/bin/true"),
    "need_served_READ_FILE": lambda: _open("/data/served/file", os.O_RDONLY),
    **{
        f"need_{name}_{right}": lambda name=name, flags=flags: _open(f"/dev/{name}", flags)
        for name in ("null", "zero", "full", "random", "urandom")
        for right, flags in (("READ_FILE", os.O_RDONLY), ("WRITE_FILE", os.O_WRONLY))
    },
}


def _saying(act):
    def said(_host):
        act()
        return DONE

    return said


NEEDS = {
    **{name: _saying(act) for name, act in ELSEWHERE.items()},
    **{
        f"need_{name}_{right}": _saying(lambda act=act, place=place: act(place()))
        for name, place in OWN.items()
        for right, act in OF_OWN.items()
    },
}
