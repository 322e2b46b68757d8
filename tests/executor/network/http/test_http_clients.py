"""
The standard library's client and server, with an exchange between them.
"""

import asyncio
import contextlib
import http.client
import http.server
import json
import socket
import threading

import pytest

from executor.network.http.origin import Origin
from tests.executor.network.http.http_world import (
    linked,
    run,
)


class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200, "Fine")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def echo_server(version):
    handler = type("Handler", (Echo,), {"protocol_version": version})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask(connection, port, requests):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.setblocking(True)
    client.sock = connection
    answers = []
    for method, path, body in requests:
        client.request(method, path, body, encode_chunked=False)
        answer = client.getresponse()
        answers.append((answer.status, answer.read()))
        if answer.will_close:
            break
    return answers


@pytest.mark.parametrize(("version", "several"), [("HTTP/1.1", True), ("HTTP/1.0", False)])
def test_http_client_and_http_server_understand_each_other(version, several):
    big = bytes(range(256)) * 2000
    requests = [
        ("GET", "/a", None),
        ("POST", "/b", b"x" * 10),
        ("POST", "/c", big),
        ("POST", "/d", iter([b"abc", big, b"def"])),
    ]
    wanted = [b"x" * 10, big, b"abc" + big + b"def"]

    async def scenario():
        with echo_server(version) as port:
            connection = socket.create_connection(("127.0.0.1", port))
            origin = Origin("127.0.0.1", port, tls=False)
            async with linked(origin, server=connection) as link:
                answers = await asyncio.to_thread(ask, link.guest.socket, port, requests)
                link.guest.close()
                assert await link.ending() is None
            headers = json.loads(answers[0][1])
            assert headers == {
                "Host": f"127.0.0.1:{port}",
                "Accept-Encoding": "identity",
                "Connection": "keep-alive",
            }
            assert [body for _, body in answers[1:]] == (wanted if several else [])

    run(scenario)
