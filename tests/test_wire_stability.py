"""
`codecage.v1` is what was released, and more: every kind of change that breaks a client is caught.

Each row changes one thing in a copy of the description, and names the rule that has to say so. That
a change of meaning under the same description is found, green does not prove.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).parent.parent / "proto"
FILE = Path("codecage/v1/codecage.proto")
BUF = Path(sys.executable).with_name("buf")

BREAKS = {
    "a field is gone": ("FIELD_NO_DELETE", "  string user = 4;\n", ""),
    "a field is gone and its number reserved": (
        "FIELD_NO_DELETE",
        "  string user = 4;\n",
        "  reserved 4;\n",
    ),
    "a field has another number": ("FIELD_NO_DELETE", "string user = 4;", "string user = 40;"),
    "a field has another name": ("FIELD_SAME_NAME", "string user = 4;", "string account = 4;"),
    "a field has another type": (
        "FIELD_SAME_TYPE",
        "uint64 max_code_bytes = 5;",
        "uint32 max_code_bytes = 5;",
    ),
    "a text is bytes": ("FIELD_SAME_TYPE", "string user = 4;", "bytes user = 4;"),
    "a field has another message": ("FIELD_SAME_TYPE", "Usage usage = 4;", "Value usage = 4;"),
    "one is several": (
        "FIELD_SAME_CARDINALITY",
        "string user = 4;",
        "repeated string user = 4;",
    ),
    "absence can be told": (
        "FIELD_SAME_CARDINALITY",
        "string user = 4;",
        "optional string user = 4;",
    ),
    "a field has another name in JSON": (
        "FIELD_SAME_JSON_NAME",
        "string user = 4;",
        'string user = 4 [json_name = "account"];',
    ),
    "a field has left its choice": (
        "FIELD_SAME_ONEOF",
        "    Cancel cancel = 4;\n    Keep keep = 5;\n  }",
        "    Cancel cancel = 4;\n  }\n  Keep keep = 5;",
    ),
    "a choice is gone": (
        "ONEOF_NO_DELETE",
        "  oneof on_disconnect {\n    Cancel cancel = 4;\n    Keep keep = 5;\n  }",
        "  Cancel cancel = 4;\n  Keep keep = 5;",
    ),
    "a value of an enumeration is gone": (
        "ENUM_VALUE_NO_DELETE",
        "  STREAM_STDERR = 2;\n",
        "",
    ),
    "a value of an enumeration has another number": (
        "ENUM_VALUE_NO_DELETE",
        "STREAM_STDERR = 2;",
        "STREAM_STDERR = 3;",
    ),
    "a value of an enumeration has another name": (
        "ENUM_VALUE_SAME_NAME",
        "STREAM_STDERR = 2;",
        "STREAM_ERRORS = 2;",
    ),
    "a message has another name": (
        "MESSAGE_NO_DELETE",
        "InterruptResponse",
        "Interrupted",
    ),
    "a method is gone": (
        "RPC_NO_DELETE",
        "  rpc Interrupt(InterruptRequest) returns (InterruptResponse);\n",
        "",
    ),
    "a method takes something else": (
        "RPC_SAME_REQUEST_TYPE",
        "rpc Interrupt(InterruptRequest)",
        "rpc Interrupt(GetSessionRequest)",
    ),
    "a method gives something else": (
        "RPC_SAME_RESPONSE_TYPE",
        "returns (InterruptResponse)",
        "returns (Session)",
    ),
    "a stream of requests is one": (
        "RPC_SAME_CLIENT_STREAMING",
        "rpc PutFile(stream PutFileRequest)",
        "rpc PutFile(PutFileRequest)",
    ),
    "an answer is a stream": (
        "RPC_SAME_SERVER_STREAMING",
        "returns (InterruptResponse)",
        "returns (stream InterruptResponse)",
    ),
    "the service has another name": ("SERVICE_NO_DELETE", "service Codecage {", "service Cage {"),
    "the package has another name": (
        "FILE_SAME_PACKAGE",
        "package codecage.v1;",
        "package codecage.v2;",
    ),
}
GROWTH = {
    "nothing": ("", ""),
    "a field": ("  string user = 4;\n", "  string user = 4;\n  string motto = 99;\n"),
    "a case of a choice": (
        "    Final final = 9;\n",
        "    Final final = 9;\n    Value extra = 98;\n",
    ),
    "a value": ("  STREAM_STDERR = 2;\n", "  STREAM_STDERR = 2;\n  STREAM_LOG = 9;\n"),
    "a message": ("message Cancel {}", "message Cancel {}\nmessage Pause {}"),
    "a method": (
        "service Codecage {\n",
        "service Codecage {\n  rpc Pause(InterruptRequest) returns (InterruptResponse);\n",
    ),
    "what was kept for later": ("  reserved 3 to 8;\n", ""),
}


def changed(directory, old, new):
    copy = directory / "proto"
    shutil.copytree(PROTO, copy, ignore=shutil.ignore_patterns("*.py", "*.pyi", "__pycache__"))
    described = [path for path in copy.glob("codecage/v1/*.proto") if old in path.read_text()]
    assert copy / FILE in described, "the description has changed: change this row with it"
    for path in described:
        path.write_text(path.read_text().replace(old, new))
    return copy


def found(proto):
    """
    The rules that a description breaks, by the name that buf has for each.
    """
    against = ["--against", "released/codecage.v1.binpb"]
    ran = subprocess.run(
        [BUF, "breaking", *against, "--error-format", "json"],
        cwd=proto,
        # Nothing is fetched: who asked anybody would hear nothing.
        env={**os.environ, "BUF_CACHE_DIR": str(proto / "cache"), "HTTPS_PROXY": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode in {0, 100}, ran.stderr
    return {json.loads(line)["type"] for line in ran.stdout.splitlines()}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_a_client_is_caught(tmp_path, name):
    rule, old, new = BREAKS[name]
    assert rule in found(changed(tmp_path, old, new))


@pytest.mark.parametrize("name", GROWTH)
def test_what_adds_to_the_api_is_not(tmp_path, name):
    assert found(changed(tmp_path, *GROWTH[name])) == set()
