"""
A19: collectors that are slow, gone, hostile or not believed cost their messages and nothing else.
"""

import contextlib
import json
import socket
import ssl
import threading

import grpc
import pytest
import trustme
from audit_world import append_all
from collecting import grpc_collector, http_collector
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from review_world import asked, fill, run
from trace_world import DECISIONS, ended_world, send

from executor.audit.review import collector as collecting
from executor.audit.store import AuditStore
from executor.linux import descriptors
from tests.executor.waiting import until


def test_a19_a_collector_that_refuses_is_counted_and_told(path, over_grpc, capsys):
    over_grpc.behave = lambda _, context: context.abort(
        grpc.StatusCode.PERMISSION_DENIED, "\x1b[2J\u202eno\n" + "x" * 1000
    )
    fill(path, ended_world())
    assert run("trace", "--to", over_grpc.url, "--audit", path) == 1
    out = capsys.readouterr().out
    assert "0 spans and 0 events taken, not taken: 2 spans, 6 events, 1 pages of metrics" in out
    assert "PERMISSION_DENIED" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert len(out) < 500


@pytest.mark.parametrize("claimed", [1, 2**62, -5])
def test_a19_what_a_collector_says_that_it_rejected_is_counted_within_reason(
    path, over_grpc, claimed
):
    def behave(signal, _):
        if signal != "traces":
            return None
        answer = trace_service_pb2.ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = claimed
        answer.partial_success.error_message = "too many"
        return answer

    over_grpc.behave = behave
    fill(path, ended_world())
    sent = send(path, over_grpc.url)
    lost = max(0, min(2, claimed))
    assert (sent.taken, sent.lost) == (2 - lost, lost)
    assert sent.why == ("too many" if lost else "")


def test_a19_an_answer_that_is_too_long_costs_its_message_and_nothing_else(path, over_grpc):
    def behave(signal, _):
        answer = trace_service_pb2.ExportTraceServiceResponse()
        answer.partial_success.error_message = "x" * 3_000_000
        return answer if signal == "traces" else None

    over_grpc.behave = behave
    fill(path, ended_world())
    sent = send(path, over_grpc.url)
    assert (sent.lost, sent.events) == (2, DECISIONS)
    assert sent.why.startswith("RESOURCE_EXHAUSTED")


def hanging(server, entered):
    def behave(*_):
        entered.set()
        server.left.wait()

    return behave


def test_a19_a_collector_that_does_not_answer_is_left_after_its_time(path, monkeypatch):
    monkeypatch.setattr(collecting, "TIMEOUT", 2)  # in which it can be reached, also when busy
    entered = threading.Event()

    with grpc_collector() as slow:
        slow.behave = hanging(slow, entered)
        fill(path, ended_world())
        sent = send(path, slow.url)
        assert entered.is_set()
        assert (sent.reached, sent.taken, sent.lost, sent.events_lost) == (16, 0, 2, DECISIONS)
        assert sent.why.startswith("DEADLINE_EXCEEDED")


def test_a19_a_server_writes_its_record_while_a_collector_hangs(path, monkeypatch):
    """
    The sender holds no lock of the store while it waits.
    """
    monkeypatch.setattr(collecting, "TIMEOUT", 30)
    waiting = threading.Event()
    with AuditStore.open(path) as store, grpc_collector() as slow:
        append_all(store, ended_world())
        slow.behave = hanging(slow, waiting)
        sender = threading.Thread(target=send, args=(path, slow.url))
        sender.start()
        assert waiting.wait(20)
        heads = append_all(store, [asked("read /later")] * 50, durable=True)
        assert heads[-1].sequence == 66
        assert sender.is_alive()
        slow.left.set()
        sender.join()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a19_a_collector_that_is_not_there_is_counted_and_told(path, scheme, capsys):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}"
        fill(path, ended_world())
        assert run("trace", "--to", url, "--json", "--audit", path) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["reached"], said["taken"], said["lost"]) == (16, 0, 2)
    assert (said["events"], said["events_lost"], said["refused"]) == (0, DECISIONS, 1)
    assert said["why"]


def test_a19_what_speaks_no_grpc_is_counted_and_told(path, over_http):
    fill(path, ended_world())
    sent = send(path, over_http.url.replace("http:", "grpc:"))
    assert (sent.taken, sent.lost) == (0, 2)
    assert sent.why


@pytest.mark.parametrize("status", [500, 400, 302, 307])
def test_a19_an_http_collector_that_refuses_is_counted_and_told(path, over_http, status, capsys):
    over_http.status = status
    fill(path, ended_world())
    assert run("trace", "--to", over_http.url, "--json", "--audit", path) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["reached"], said["taken"], said["lost"]) == (16, 0, 2)
    assert str(status) in said["why"]
    assert over_http.got.count == 3


def test_a19_a_collector_that_does_not_speak_http_is_counted_and_told(path, over_http, capsys):
    over_http.status = None
    fill(path, ended_world())
    assert run("trace", "--to", over_http.url, "--audit", path) == 1
    assert "(no status line" in capsys.readouterr().out.lower()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.mark.parametrize("believed", [True, False])
@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_a_collector_over_tls_is_sent_to_where_its_authority_is_believed_and_nowhere_else(
    path, tmp_path, authority, monkeypatch, scheme, believed
):
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    if believed:
        name = "OTEL_EXPORTER_OTLP_CERTIFICATE" if scheme == "grpcs" else "SSL_CERT_FILE"
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    fill(path, ended_world())
    if scheme == "grpcs":
        pair = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
        served = grpc_collector(grpc.ssl_server_credentials([pair]))
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        served = http_collector(context)
    with served as collector:
        assert collector.url.startswith(f"{scheme}:")
        sent = send(path, collector.url)
        assert (sent.taken, sent.lost) == ((2, 0) if believed else (0, 2))
        assert bool(collector.got.count) is believed


def test_a_certificate_that_cannot_be_read_is_an_error_before_anything_is_sent(
    path, monkeypatch, capsys
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem")
    fill(path, ended_world())
    assert run("trace", "--to", "grpcs://127.0.0.1:1", "--audit", path) == 1
    assert "/nonexistent/ca.pem" in capsys.readouterr().err


def test_a_header_that_cannot_be_sent_is_an_error_before_anything_is(path, monkeypatch, capsys):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-a=b%0d%0ax-evil%3a1")
    fill(path, ended_world())
    for scheme in ("grpc", "http"):
        assert run("trace", "--to", f"{scheme}://127.0.0.1:1", "--audit", path) == 1
        assert "printable ASCII" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (b"HTTP/1.", 2),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", 0),
        (b"HTTP/1.1 200 OK\r\n\r\n", 0),
    ],
)
def test_a19_an_answer_that_drips_is_left_after_its_time(path, monkeypatch, part, lost):
    """
    Each byte comes in time; all of them never do. Where it had said 200, it took what was sent.
    """
    monkeypatch.setattr(collecting, "TIMEOUT", 1)  # in which it can begin, also when busy
    left = threading.Event()

    def drip(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65_536)
                    connection.sendall(part)
                    while not left.wait(0.02):
                        connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        fill(path, ended_world())
        sent = send(path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        left.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (sent.reached, sent.lost) == (16, lost)


def test_a19_an_answer_without_end_is_read_no_further_than_it_matters(path, over_http):
    over_http.answer = b"x" * 50_000_000
    fill(path, ended_world())
    assert run("trace", "--to", over_http.url, "--audit", path) == 0
    # Of three answers; some of each waits in buffers of the kernel.
    assert over_http.written < 100_000_000


def test_sending_leaves_no_descriptor_behind(path, over_grpc):
    fill(path, ended_world())
    send(path, over_grpc.url)
    before = len(descriptors.own())
    assert [send(path, over_grpc.url).lost for _ in range(5)] == [0] * 5
    # The server in this process lets go of a connection when it has seen its end.
    until(lambda: len(descriptors.own()) <= before)
    assert len(descriptors.own()) <= before


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:4318",
        "ftp://x",
        "http://",
        "http://h/?q",
        "file:///etc/passwd",
        "http://h /",
        "grpc://h",
        "grpc://h:4317/path",
        "grpc://h:99999999",
        "grpc://u:p@h:4317",
        "unix:/run/x",
    ],
)
def test_what_is_no_collector_is_usage(url, path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("trace", "--to", url, "--audit", path)
    assert stop.value.code == 2
    assert "write grpc://HOST:PORT" in capsys.readouterr().err
