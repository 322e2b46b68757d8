"""
What endpoints send, written by hand after their public references: whole answers, and refusals.
"""

import json
from typing import Any

from tests.servers.sites import Answer, HttpServer, Page, Seen, answer

KEY = "sk-test-0123456789abcdefghij"
TEXT = "<execute>2 + 2</execute>"


def completion(text: Any = TEXT, finish: str = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": text, "refusal": None, "annotations": [], **message}
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1_741_569_952,
        "model": "gpt-4.1-2025-04-14",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
        "service_tier": "default",
    }


def message(text: str = TEXT, stop: str = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-20250514",
        "content": [
            {"type": "thinking", "thinking": "two and two", "signature": "EqQBCg"},
            {"type": "text", "text": text},
        ],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 6, "cache_read_input_tokens": 11},
    }


def openai_error(text: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def anthropic_error(kind: str, text: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_011CSH"}


def replying(data: object, status: str = "200 OK", **fields: str) -> Page:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda *_: answer(body, status=status, fields=named, goes_on=False)


def in_turn(*pages: Page) -> Page:
    """
    Each page for one request, in their order.
    """
    left = list(pages)

    def page(seen: Seen, server: HttpServer) -> Answer:
        return left.pop(0)(seen, server)

    return page


def silent(_: Seen, server: HttpServer) -> Answer:
    server.listener.closing.wait()
    return Answer([], goes_on=False)


def dripping(_: Seen, server: HttpServer) -> Answer:
    """
    A byte now and then, for ever: no single wait is long.
    """

    def pieces():
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
        while server.wait(0.01):
            yield b" "

    return Answer(pieces(), goes_on=False)


def breaking(*_: object) -> Answer:
    return Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"], goes_on=False)


def closing(*_: object) -> Answer:
    return Answer([], goes_on=False)


def calling(*codes: str, said: str | None = None) -> dict[str, Any]:
    """
    A completion with calls of the tool, as OpenAI and its kin send them.
    """
    made = [
        {
            "id": f"call_Yz{place}",
            "type": "function",
            "function": {"name": "python", "arguments": json.dumps({"code": code})},
        }
        for place, code in enumerate(codes)
    ]
    return completion(said, finish="tool_calls", tool_calls=made)


def using(*codes: str, said: str = "I run it.") -> dict[str, Any]:
    """
    A message with uses of the tool, as Anthropic sends them.
    """
    whole = message(said, stop="tool_use")
    whole["content"] += [
        {"type": "tool_use", "id": f"toolu_01{place}", "name": "python", "input": {"code": code}}
        for place, code in enumerate(codes)
    ]
    return whole
