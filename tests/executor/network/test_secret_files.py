"""
Secrets: files of one line that nobody else may read or change, read by the broker alone.
"""

import os
import subprocess

import pytest
from network_world import NOBODY, PATIENCE, ROOT, running, secret_directory

from codecage.network.v1 import network_pb2 as wire
from executor.network.secrets import SecretUnusable, read_secrets

OWN = {os.getuid()}


@pytest.fixture
def directory(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


def put(directory, name="token", content=b"s3cret", mode=0o600):
    path = directory / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(directory, name="token", owners=OWN):
    with pytest.raises(SecretUnusable) as caught:
        read_secrets(directory, [name], owners)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret", b"s3cret"),
        (b"s3cret\n", b"s3cret"),
        (b" a b ", b" a b "),
        (b"x" * 8192 + b"\n", b"x" * 8192),
    ],
)
def test_a_secret_is_one_line_without_its_end(directory, content, secret):
    put(directory, content=content)
    assert read_secrets(directory, ["token"], OWN) == {"token": secret}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a\n\n",
        b"a\nb",
        b"a\r\n",
        b"\ttab",
        b"\x00",
        b"\x7f",
        "ü".encode(),
        b"x" * 8193,
        b"x" * 8194,
        b"x" * 20_000,
    ],
)
def test_anything_else_is_no_secret_and_is_not_quoted(directory, content):
    put(directory, content=content)
    assert refused(directory) == (
        "the secret token is not one line of 1 to 8192 printable ASCII characters"
    )


def test_a_secret_of_more_parts_than_can_be_looked_for_is_refused(directory):
    words = [b"part-%04d" % number for number in range(64)]
    put(directory, content=b" ".join(words[:63]))
    assert read_secrets(directory, ["token"], OWN)["token"].endswith(b"0062")
    put(directory, content=b" ".join(words))
    assert "has 65 parts" in refused(directory)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_file_with_any_right_of_others_is_refused(directory, mode):
    put(directory, mode=mode)
    assert f"has mode {mode:o}" in refused(directory)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_its_owner_alone_is_read(directory, mode):
    put(directory, mode=mode)
    assert read_secrets(directory, ["token"], OWN) == {"token": b"s3cret"}


def test_a_file_of_another_user_is_refused(directory):
    put(directory)
    directory.chmod(0o700)
    assert "belongs to user" in refused(directory, owners={12345})


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_directory_into_which_others_may_put_names_is_refused(directory, mode):
    put(directory)
    directory.chmod(mode)
    assert "writable by nobody else" in refused(directory)
    directory.chmod(0o755)
    assert read_secrets(directory, ["token"], OWN)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../token", "Token", "a/b", "-a", "a" * 65, "a\0", "a b", "tökén"]
)
def test_a_name_that_is_none_is_refused_before_anything_is_opened(directory, name):
    assert "is no name of a secret" in refused(directory, name)


def test_a_missing_secret_a_directory_and_a_fifo_are_refused(directory):
    assert "the secret token cannot be opened (ENOENT)" in refused(directory)
    (directory / "dir").mkdir()
    assert "the secret dir is drwx" in refused(directory, "dir")
    os.mkfifo(directory / "fifo", 0o600)
    assert "the secret fifo is prw" in refused(directory, "fifo")


def test_a_link_leads_to_what_is_looked_at(directory):
    """
    As the stores of clusters lay secrets out; rights and owner are those of the file itself.
    """
    (directory / "..data").mkdir(mode=0o700)
    put(directory / "..data")
    (directory / "token").symlink_to("..data/token")
    assert read_secrets(directory, ["token"], OWN) == {"token": b"s3cret"}
    (directory / "..data" / "token").chmod(0o644)
    assert "has mode 644" in refused(directory)


def test_no_directory_and_a_wrong_one_are_refused_only_where_a_secret_is_wanted(directory):
    assert read_secrets(None, [], OWN) == {}
    with pytest.raises(SecretUnusable, match="start the server with --secrets"):
        read_secrets(None, ["token"], OWN)
    with pytest.raises(SecretUnusable, match="cannot be opened"):
        read_secrets(directory / "none", ["token"], OWN)


def test_a_broker_whose_secret_is_missing_does_not_start():
    with (
        secret_directory(other=b"x") as directory,
        running(
            "--secrets",
            str(directory),
            setup=wire.Setup(secrets=["token"]),
            ready=False,
            stderr=subprocess.PIPE,
        ) as broker,
    ):
        assert broker.frame() is None
        assert broker.process.wait(PATIENCE) == 2
        assert b"the secret token cannot be opened (ENOENT)" in broker.process.stderr.read()


@pytest.mark.skipif(not ROOT, reason="only root can give a file to root and run as another")
def test_a_broker_reads_roots_secret_before_it_gives_up_root():
    with (
        secret_directory(token=b"s3cret") as directory,
        running("--secrets", str(directory), setup=wire.Setup(secrets=["token"])) as broker,
    ):
        with open(f"/proc/{broker.process.pid}/status") as file:
            uid = next(line for line in file if line.startswith("Uid:"))
        assert uid.split()[1:] == [str(NOBODY)] * 4
