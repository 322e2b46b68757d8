"""
Observations as JSON, for whoever reads a command's output with a program.
"""

import base64
import json
from typing import Any

from agent_client.displays import Display
from agent_client.observation import Observation


def observation_json(observation: Observation) -> str:
    """
    One line of ASCII: whatever the guest wrote stays inside its field.
    """
    return json.dumps(observation_fields(observation))


def observation_fields(observation: Observation) -> dict[str, Any]:
    """
    The observation's fields, named as they are in Python; times in seconds, sizes in bytes.
    """
    error = observation.error
    return {
        "status": observation.status.value,
        "ok": observation.ok,
        "exit_code": observation.ended.exit_code,
        "chunks": [[stream.value, text] for stream, text in observation.chunks],
        "stdout": observation.stdout,
        "stderr": observation.stderr,
        "displays": [display_fields(shown) for shown in observation.displays],
        "value": observation.value,
        "error": error
        and {"name": error.name, "message": error.message, "traceback": error.traceback},
        "truncated": observation.truncated,
        "shown_bytes": observation.shown_bytes,
        "output_bytes": observation.ended.output_bytes,
        "duration": observation.duration,
        "cpu_time": observation.cpu_time,
        "peak_memory": observation.peak_memory,
        "requests": observation.requests,
        "requests_by_kind": dict(observation.requests_by_kind),
        "denied": observation.denied,
        "connections": observation.connections,
        "http_requests": observation.http_requests,
        "network_sent": observation.network_sent,
        "network_received": observation.network_received,
        "audit_head": str(observation.audit_head),
        "session_lost": observation.session_lost,
        "reason": observation.reason,
    }


def display_fields(shown: Display) -> dict[str, str]:
    """
    The forms by media type as notebooks keep them: text as it is, all else in Base64.

    Source: the notebook format (nbformat 4.5, `mimebundle`), where a form of JSON is its text here.
    """
    return {kind: _form(kind, shown.data[kind]) for kind in shown.types}


def _form(kind: str, data: bytes) -> str:
    if kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+xml", "+json")):
        return data.decode("utf-8", "backslashreplace")
    return base64.b64encode(data).decode("ascii")


_TEXTS = frozenset({"application/json", "application/javascript"})
