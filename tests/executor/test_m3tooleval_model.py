"""
What a live model's replies mean in the tool benchmark, its endpoint, and the interval of a share.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from agent_client.errors import InvalidRequest, NoAnswer
from executor import cli
from executor.commands.m3tooleval.endpoint import Endpoint, from_environment
from executor.commands.m3tooleval.formats import Answer, Cell, Format, Neither, prompt, read
from executor.commands.m3tooleval.kit import Tool
from executor.commands.m3tooleval.wilson import interval
from tests.executor import small_kit

MESSAGES = [{"role": "user", "content": "hello"}]


@contextmanager
def answering(answer):
    """
    An endpoint on loopback that answers a request's headers and body with a status and a text.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "null")
            status, text = answer(self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self):  # what a redirection would be followed with
            self.do_POST()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def completion(text):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def test_a_request_has_the_model_the_messages_and_the_key():
    seen = []

    def answer(path, headers, body):
        seen.append((path, headers["Authorization"], body))
        return 200, completion("hi")

    with answering(answer) as url:
        assert Endpoint(url, "small", "secret").complete(MESSAGES) == "hi"
    body = {"model": "small", "messages": MESSAGES, "temperature": 0}
    assert seen == [("/v1/chat/completions", "Bearer secret", body)]


def test_a_busy_endpoint_is_tried_again_and_a_refusal_is_not():
    statuses = [503, 429, 200, 401]
    with answering(lambda *_: (statuses.pop(0), completion("at last"))) as url:
        endpoint = Endpoint(url, "small", waits=(0, 0))
        assert endpoint.complete(MESSAGES) == "at last"
        with pytest.raises(InvalidRequest, match="status 401"):
            endpoint.complete(MESSAGES)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_does_not_follow_a_redirection(status):
    paths = []

    def answer(path, *_):
        paths.append(path)
        return status, ""

    with answering(answer) as url, pytest.raises(InvalidRequest, match=f"status {status}"):
        Endpoint(url, "small", "secret", waits=()).complete(MESSAGES)
    assert paths == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"choices": []}', '{"choices": [{"message": 1}]}']
)
def test_what_is_no_completion_is_told(text):
    with (
        answering(lambda *_: (200, text)) as url,
        pytest.raises(InvalidRequest, match="no chat completion"),
    ):
        Endpoint(url, "small").complete(MESSAGES)


def test_an_endpoint_that_is_not_there_has_no_answer():
    with answering(lambda *_: (200, "")) as url:
        pass
    with pytest.raises(NoAnswer, match="cannot be reached"):
        Endpoint(url, "small", waits=(0,)).complete(MESSAGES)


def test_the_key_is_not_in_the_text_of_an_endpoint():
    found = from_environment("m", {"OPENAI_BASE_URL": "http://h/v1/", "OPENAI_API_KEY": "secret"})
    assert (found.url, found.key) == ("http://h/v1", "secret")
    assert "secret" not in repr(found)


@pytest.mark.parametrize("url", ["", "ftp://host/v1", "file:///etc/passwd", "host:8000"])
def test_a_model_without_an_address_of_http_is_a_mistake_of_usage(
    url, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    kit = str(small_kit.write(tmp_path))
    assert cli.main(["bench", "m3tooleval", "--kit", kit, "--model", "small"]) == 2
    assert "set OPENAI_BASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "x", "1001"])
def test_repeats_are_a_number_from_1_to_1000(count, capsys):
    with pytest.raises(SystemExit):
        cli.main(["bench", "m3tooleval", "--kit", ".", "--repeats", count])
    assert "is no number from 1 to 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format_", "reply", "meant"),
    [
        (Format.CODE, "I will.\n<execute>\nprint(1)\n</execute>\nAnswer: 2", Cell("\nprint(1)\n")),
        (Format.CODE, "<execute>print(1)", Cell("print(1)")),
        (Format.CODE, "So:\nAnswer:  7 \n", Answer("7")),
        (Format.JSON, 'Action: {"tool": "f", "arguments": [1, null]}', Cell("print(repr(f(*[1, None])))")),
        (Format.JSON, 'Action: {"tool": "f", "arguments": {"a": true}} ok', Cell("print(repr(f(*[], **{'a': True})))")),
        (Format.JSON, "Answer: (1, 2)", Answer("(1, 2)")),
        (Format.TEXT, "Action: f('x', -2.5, k=[1])\nAnswer: 3", Cell("print(repr(f(*['x', -2.5], **{'k': [1]})))")),
        (Format.TEXT, "Action: f()", Cell("print(repr(f(*[])))")),
    ],
)  # fmt: skip
def test_a_reply_is_one_action_or_the_answer(format_, reply, meant):
    assert read(format_, reply, ["f"]) == meant


@pytest.mark.parametrize(
    ("format_", "reply", "hint"),
    [
        (Format.CODE, "hm", "no action and no answer"),
        (Format.JSON, "Action: {", "cannot be read (JSONDecodeError)"),
        (Format.JSON, "Action: 3", "cannot be read (TypeError)"),
        (Format.JSON, "Action: []", "cannot be read (TypeError)"),
        (Format.JSON, 'Action: {"tool": ["f"]}', "cannot be read (TypeError)"),
        (Format.JSON, 'Action: {"tool": "exit"}', "no tool 'exit'; there are f"),
        (Format.JSON, 'Action: {"tool": "f", "arguments": 3}', "cannot be read (TypeError)"),
        (Format.TEXT, "Action: f(g())", "cannot be read (ValueError)"),
        (Format.TEXT, "Action: f(**g)", "cannot be read"),
        (Format.TEXT, "Action: f.g(1)", "cannot be read (TypeError)"),
        (Format.TEXT, "Action: f(" + "(" * 5000, "cannot be read"),
        (Format.TEXT, "Action: exit(1)", "no tool 'exit'"),
        (Format.TEXT, "Action: f(\0)", "cannot be read"),
    ],
)
def test_a_reply_that_is_no_call_of_a_tool_becomes_a_hint_and_never_a_cell(format_, reply, hint):
    meant = read(format_, reply, ["f"])
    assert isinstance(meant, Neither)
    assert hint in meant.hint


@pytest.mark.parametrize("format_", Format)
def test_the_first_message_has_the_tools_the_task_and_how_to_act(format_):
    text = prompt(format_, [Tool("f", "does it", "f(a: str) -> int")], "Find it.", 7)
    assert "- f(a: str) -> int: does it\n" in text
    assert text.endswith("you have 7 replies.\n\nTask: Find it.")
    assert ("<execute>" in text) == (format_ is Format.CODE)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 82, 0.9341, 0.9978)],
)  # fmt: skip
def test_the_interval_is_the_one_of_wilsons_formula(successes, count, low, high):
    assert interval(successes, count) == pytest.approx((low, high), abs=1e-4)
