import asyncio
import os
import pwd
import socket
import stat

import grpc
import pytest

from executor.api.listening import Place, add_port, clear_stale, place, private_directory
from executor.errors import CannotStart
from executor.identity import Account, account

OWN = Account("me", os.geteuid(), os.getegid(), changes=False)
OTHER = Account("other", 54321, 54321, changes=True)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.mark.parametrize("text", ["", "tcp:1", "localhost:1", "[::]:50051", "UNIX:/x", "/x"])
def test_only_a_unix_socket_is_a_place(text):
    with pytest.raises(CannotStart, match="only unix:PATH"):
        place(text)


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place("unix:s").path == tmp_path / "s"


def test_a_path_too_long_for_a_socket_is_refused():
    with pytest.raises(CannotStart, match="107 bytes"):
        place("unix:/" + "x" * 107)


def test_a_missing_directory_is_made_private(tmp_path):
    private_directory(tmp_path / "a" / "b", OWN)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o770, 0o755, 0o777])
def test_a_directory_open_to_others_is_refused(tmp_path, mode):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(mode)
    with pytest.raises(CannotStart, match="chmod 700"):
        private_directory(tmp_path / "a", OWN)


def test_a_private_directory_with_files_is_taken(tmp_path):
    (tmp_path / "a").mkdir(0o700)
    (tmp_path / "a" / "old").touch()
    private_directory(tmp_path / "a", OWN)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["old"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_directory_is_refused(tmp_path, kind):
    (tmp_path / "real").mkdir(0o700)
    if kind == "file":
        (tmp_path / "a").touch(0o600)
    else:
        (tmp_path / "a").symlink_to("real")
    with pytest.raises(CannotStart, match="no directory"):
        private_directory(tmp_path / "a", OWN)


@as_root
def test_an_empty_directory_of_roots_is_handed_over_and_a_full_one_is_not(tmp_path):
    for name in ("empty", "full"):
        (tmp_path / name).mkdir(0o700)
    (tmp_path / "full" / "x").touch()
    private_directory(tmp_path / "empty", OTHER)
    assert (tmp_path / "empty").stat().st_uid == OTHER.uid
    with pytest.raises(CannotStart, match="belongs to another account"):
        private_directory(tmp_path / "full", OTHER)
    assert (tmp_path / "full").stat().st_uid == 0


@as_root
def test_a_directory_of_a_third_account_is_refused(tmp_path):
    (tmp_path / "a").mkdir(0o700)
    os.chown(tmp_path / "a", 55555, 55555)
    for who in (OWN, OTHER):
        with pytest.raises(CannotStart, match="belongs to another account"):
            private_directory(tmp_path / "a", who)


def test_a_dead_socket_is_removed(tmp_path):
    where = place(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(where.path))
        listening.listen()
    clear_stale(where)
    assert not where.path.exists()
    clear_stale(where)


def test_a_living_socket_is_left_alone(tmp_path):
    where = place(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(where.path))
        listening.listen()
        with pytest.raises(CannotStart, match="listens on"):
            clear_stale(where)
    assert where.path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path, kind):
    where = place(f"unix:{tmp_path}/s")
    if kind == "file":
        where.path.touch()
    elif kind == "directory":
        where.path.mkdir()
    else:
        where.path.symlink_to("/nowhere")
    with pytest.raises(CannotStart, match="no socket"):
        clear_stale(where)
    assert where.path.is_symlink() or where.path.exists()


async def on_a_server(act):
    server = grpc.aio.server()
    try:
        return act(server)
    finally:
        await server.stop(None)
        # Its finaliser would schedule another stop, on a loop that may be closed by then.
        del server._server


def mode_of_a_new(path, act):
    """
    The mode of a socket that `act` makes where the mask is open, and the mask after it.
    """
    before = os.umask(0)
    try:
        asyncio.run(on_a_server(act))
        return stat.S_IMODE(path.stat().st_mode), os.umask(0)
    finally:
        os.umask(before)


def test_a_servers_socket_is_its_accounts_alone_whatever_the_mask_is(tmp_path):
    open_to_all = tmp_path / "all"
    mode, _ = mode_of_a_new(
        open_to_all, lambda server: server.add_insecure_port(f"unix:{open_to_all}")
    )
    assert mode & 0o077
    own = tmp_path / "own"
    assert mode_of_a_new(own, lambda server: add_port(server, Place(own))) == (0o600, 0)


def test_a_place_where_no_socket_can_be_is_told_and_the_mask_is_what_it_was(tmp_path):
    before = os.umask(0o022)
    try:
        with pytest.raises(CannotStart, match="cannot listen on .*/none/s"):
            asyncio.run(on_a_server(lambda one: add_port(one, Place(tmp_path / "none" / "s"))))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@as_root
def test_root_names_an_account_by_name_number_or_the_word_root():
    nobody = pwd.getpwnam("nobody")
    wanted = Account("nobody", nobody.pw_uid, nobody.pw_gid, changes=True)
    assert account("nobody") == account(str(nobody.pw_uid)) == wanted
    assert account("root").is_root
    assert account("0").is_root
    with pytest.raises(CannotStart, match="--run-as"):
        account(None)


@pytest.mark.parametrize("name", ["", "no-such-user", "99999999999", "-1", "nobody "])
def test_an_account_that_is_none_is_refused(name):
    with pytest.raises(CannotStart):
        account(name)
