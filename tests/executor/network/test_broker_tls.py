"""
TLS as the broker speaks it: whom it believes, and what it says of whom it does not.
"""

import contextlib
import datetime as dt
import errno
import os
import socket
import ssl
import tempfile
import threading
from pathlib import Path

import pytest
import trustme
from name_world import naming, records
from network_world import PATIENCE, collect, echo, listening, running

from codecage.network.v1 import network_pb2 as wire
from executor.network.trust import TrustUnusable, read_trust

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def broker(authority):
    lines = [f"{name}.test. 60 IN A 127.0.0.1" for name in ("api", "other")]
    with tempfile.NamedTemporaryFile() as file, naming(records(*lines)) as names:
        file.write(authority.cert_pem.bytes())
        file.flush()
        setup = wire.Setup(resolvers=[names.place])
        with running("--trust", file.name, setup=setup) as started:
            yield started


def context(certificate, **options):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def refusal(broker, tls, host="api.test", **more):
    with listening(echo, tls=tls) as server:
        guest = broker.connect(host, server.port, tls=True, **more)
        assert not guest.made()
        ended = broker.ended(guest)
        return ended.errno, ended.reason.replace(str(server.port), "PORT")


def test_a_server_with_a_certificate_for_its_name_is_spoken_to(broker, authority):
    with listening(echo, tls=context(authority.issue_cert("api.test"))) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert guest.made()
        guest.stream.sendall(b"hello")
        assert guest.stream.recv(100) == b"hello"
        broker.send(drop=guest.number)
        ended = broker.ended(guest)
    assert (ended.sent, ended.received) == (5, 5)


@pytest.mark.parametrize("host", ["127.0.0.1"])
def test_a_server_with_a_certificate_for_its_address_is_spoken_to(broker, authority, host):
    with listening(echo, tls=context(authority.issue_cert(host))) as server:
        guest = broker.connect(host, server.port, tls=True)
        assert guest.made()
        broker.send(drop=guest.number)
        broker.ended(guest)


def test_a_certificate_for_another_name_is_refused(broker, authority):
    tls = context(authority.issue_cert("other.test"))
    said = (errno.EPROTO, "the certificate of api.test is for another name")
    assert refusal(broker, tls) == said


def test_a_certificate_for_another_address_is_refused(broker, authority):
    tls = context(authority.issue_cert("127.0.0.2"))
    said = (errno.EPROTO, "the certificate of 127.0.0.1 is for another address")
    assert refusal(broker, tls, "127.0.0.1") == said


def test_a_common_name_alone_names_nobody(broker, authority):
    tls = context(authority.issue_cert("other.test", common_name="api.test"))
    said = (errno.EPROTO, "the certificate of api.test is for another name")
    assert refusal(broker, tls) == said


def test_an_expired_certificate_is_refused(broker, authority):
    tls = context(authority.issue_cert("api.test", not_after=LONG_AGO))
    assert refusal(broker, tls) == (errno.EPROTO, "the certificate of api.test has expired")


def test_a_certificate_of_a_stranger_is_refused(broker):
    errors, said = refusal(broker, context(trustme.CA().issue_cert("api.test")))
    assert errors == errno.EPROTO
    assert said == (
        "the certificate of api.test is not signed by an authority that this server trusts"
    )


def test_the_same_stranger_is_believed_by_a_broker_that_is_told_to():
    stranger = trustme.CA()
    with tempfile.NamedTemporaryFile() as file:
        file.write(stranger.cert_pem.bytes())
        file.flush()
        with (
            running("--trust", file.name) as broker,
            listening(echo, tls=context(stranger.issue_cert("127.0.0.1"))) as server,
        ):
            guest = broker.connect("127.0.0.1", server.port, tls=True)
            assert guest.made()
            broker.send(drop=guest.number)


def test_old_tls_is_refused(broker, authority):
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        tls = context(
            authority.issue_cert("api.test"),
            minimum_version=ssl.TLSVersion.TLSv1_1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )
    errors, said = refusal(broker, tls)
    assert errors == errno.EPROTO
    assert said.startswith("api.test port PORT ")


def test_a_server_that_does_not_speak_tls_is_refused(broker):
    def plain(connection):
        connection.recv(2**16)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(plain) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert not guest.made()
        ended = broker.ended(guest)
    assert ended.errno == errno.EPROTO
    assert "does not speak TLS 1.2 or later with us (wrong version number)" in ended.reason


def test_a_server_that_closes_during_the_handshake_is_told_so(broker):
    with listening(lambda connection: connection.recv(2**16)) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert not guest.made()
        ended = broker.ended(guest)
    assert ended.errno in {errno.EPROTO, errno.ECONNRESET}


def test_a_parsed_connection_agrees_on_http_1_1_alone(broker, authority):
    spoken = []

    def note(connection):
        spoken.append(connection.selected_alpn_protocol())

    tls = context(authority.issue_cert("api.test"))
    tls.set_alpn_protocols(["h2", "http/1.1"])
    with listening(note, tls=tls) as server:
        for raw in (False, True):
            guest = broker.connect("api.test", server.port, tls=True, raw=raw)
            assert guest.made()
            guest.rest()
            broker.ended(guest)
    assert spoken == ["http/1.1", None]


def test_megabytes_arrive_unchanged_both_ways_at_once(broker, authority):
    data = os.urandom(5 * 2**20)
    tls = context(authority.issue_cert("api.test"))
    with listening(echo, tls=tls) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert guest.made()
        sending = threading.Thread(target=guest.stream.sendall, args=(data,))
        sending.start()
        received = b""
        while len(received) < len(data):
            received += guest.stream.recv(2**18)
        sending.join()
        assert received == data
        guest.stream.close()
        ended = broker.ended(guest)
    assert (ended.errno, ended.sent, ended.received) == (0, len(data), len(data))


def test_the_end_of_tls_is_an_end(broker, authority):
    def say_goodbye(connection):
        connection.sendall(b"all of it")
        with contextlib.suppress(OSError):
            connection.unwrap()

    with listening(say_goodbye, tls=context(authority.issue_cert("api.test"))) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert guest.made()
        assert guest.rest() == b"all of it"
        assert broker.ended(guest).errno == 0


def test_an_end_that_tls_does_not_confirm_is_an_error_after_what_came(broker, authority):
    def cut(connection):
        connection.sendall(b"a part")
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    with listening(cut, tls=context(authority.issue_cert("api.test"))) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert guest.made()
        assert guest.rest() == b"a part"
        ended = broker.ended(guest)
    assert ended.errno == errno.ECONNRESET
    assert ended.reason == (
        "api.test ended the connection without saying so in TLS: bytes may be missing"
    )


def test_a_guest_that_has_finished_sending_still_receives(broker, authority):
    def answer_at_the_end(connection):
        connection.sendall(b"got " + collect(connection))
        with contextlib.suppress(OSError):
            connection.unwrap()

    with listening(answer_at_the_end, tls=context(authority.issue_cert("api.test"))) as server:
        guest = broker.connect("api.test", server.port, tls=True)
        assert guest.made()
        guest.stream.sendall(b"all")
        guest.stream.shutdown(socket.SHUT_WR)
        assert guest.rest() == b"got all"
        assert broker.ended(guest).errno == 0


def test_no_variable_of_the_environment_is_believed(authority, tmp_path):
    """
    The very variables that OpenSSL and its users follow, in the process itself.
    """
    stranger = trustme.CA()
    with tempfile.TemporaryDirectory() as directory:
        bundle, log = Path(directory, "ca.pem"), Path(directory, "keys")
        bundle.write_bytes(stranger.cert_pem.bytes())
        Path(directory).chmod(0o777)
        environment = {
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(bundle),
            "SSL_CERT_DIR": directory,
            "SSLKEYLOGFILE": str(log),
            "HTTPS_PROXY": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
        }
        own = Path(directory, "own.pem")
        own.write_bytes(authority.cert_pem.bytes())
        with running("--trust", str(own), environment=environment) as broker:
            errors, said = refusal(broker, context(stranger.issue_cert("127.0.0.1")), "127.0.0.1")
            assert (errors, "not signed" in said) == (errno.EPROTO, True)
            with listening(echo, tls=context(authority.issue_cert("127.0.0.1"))) as server:
                guest = broker.connect("127.0.0.1", server.port, tls=True)
                assert guest.made()
                broker.send(drop=guest.number)
                broker.ended(guest)
        assert not log.exists()


def test_a_host_without_authorities_says_so_with_each_refusal(authority, tmp_path):
    assert read_trust(None, (tmp_path / "none",)).empty
    added = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(added)
    trust = read_trust(added, (tmp_path / "none",))
    assert not trust.empty
    for made in (trust.parsed, trust.raw):
        assert made.minimum_version == ssl.TLSVersion.TLSv1_2
        assert made.check_hostname
        assert made.verify_mode is ssl.CERT_REQUIRED
        assert len(made.get_ca_certs()) == 1


def test_the_first_bundle_that_is_there_is_read_and_no_other(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "second")
    trustme.CA().cert_pem.write_to_path(tmp_path / "third")
    places = (tmp_path / "first", tmp_path / "second", tmp_path / "third")
    assert len(read_trust(None, places).raw.get_ca_certs()) == 1
    assert len(read_trust(tmp_path / "third", places).raw.get_ca_certs()) == 2


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_without_certificates_is_refused(tmp_path, content):
    (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(TrustUnusable, match="holds no usable certificate"):
        read_trust(tmp_path / "ca.pem", ())


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path):
    with pytest.raises(TrustUnusable, match="cannot be read"):
        read_trust(tmp_path / "ca.pem", ())
    with (tmp_path / "ca.pem").open("wb") as file:
        file.truncate(8 * 2**20 + 1)
    with pytest.raises(TrustUnusable, match="is larger than"):
        read_trust(tmp_path / "ca.pem", ())


def test_a_broker_with_an_unusable_file_does_not_start():
    import subprocess

    with running("--trust", "/nonexistent.pem", ready=False, stderr=subprocess.PIPE) as broker:
        assert broker.frame() is None
        assert broker.process.wait(PATIENCE) == 2
        assert b"/nonexistent.pem cannot be read" in broker.process.stderr.read()
