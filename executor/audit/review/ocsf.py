"""
A record as an event of the Open Cybersecurity Schema Framework.

Each record is one event, so that nothing is lost and an export can go on where the last one
ended: `metadata.uid` is the store's identity and the sequence, and an outcome has that of its
decision as `metadata.correlation_uid`. A decision's `status_id` is unknown, as it was when it was
written; its outcome says success or failure. The class is that of what was asked:

    files                    File System Activity  1001
    run                      Process Activity      1007
    connect, dial            Network Activity      4001
    http                     HTTP Activity         4002
    resolve                  DNS Activity          4003
    server.start, .stop      Application Lifecycle 6002
    all else                 API Activity          6003

Decisions carry the profile `security_control` (action and disposition). What the schema has no
place for stands in `unmapped`. Texts are as recorded, of a cut one
the start with the mark that a table has; the JSON around them is ASCII.

Source: https://schema.ocsf.io/1.6.0.
"""

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from executor.audit.record import OK, UNKNOWN, Answer, Event, Record
from executor.audit.report import Json, moment, value_json
from executor.audit.review.asked import FILE_KINDS, Asked, asked_of
from executor.audit.review.search import Step

VERSION: Final = "1.6.0"
_OTHER, _VIRTUAL = 99, 6
_FORMAT = "1"


class Class(IntEnum):
    """
    The classes that are used, by `class_uid`.
    """

    FILE = 1001
    PROCESS = 1007
    NETWORK = 4001
    HTTP = 4002
    DNS = 4003
    LIFECYCLE = 6002
    API = 6003


_NAMES: Final[Mapping[Class, tuple[str, str]]] = {
    Class.FILE: ("System Activity", "File System Activity"),
    Class.PROCESS: ("System Activity", "Process Activity"),
    Class.NETWORK: ("Network Activity", "Network Activity"),
    Class.HTTP: ("Network Activity", "HTTP Activity"),
    Class.DNS: ("Network Activity", "DNS Activity"),
    Class.LIFECYCLE: ("Application Activity", "Application Lifecycle"),
    Class.API: ("Application Activity", "API Activity"),
}


@dataclass(frozen=True, slots=True)
class _Act:
    """
    An activity of a class: its number and its name there.
    """

    number: int
    name: str


_CREATE, _READ = _Act(1, "Create"), _Act(2, "Read")
_UPDATE, _DELETE = _Act(3, "Update"), _Act(4, "Delete")
_FILE_ACTS: Final = {
    "stat": _Act(8, "Get Attributes"),
    "list": _READ,
    "read": _READ,
    "write": _UPDATE,
    "create": _CREATE,
    "truncate": _UPDATE,
    "remove": _DELETE,
    "mkdir": _CREATE,
    "rmdir": _DELETE,
    "rename": _Act(5, "Rename"),
    "utime": _Act(6, "Set Attributes"),
    "put": _UPDATE,
    "get": _READ,
    "commit": _UPDATE,
}
_HTTP_ACTS: Final = {
    "CONNECT": _Act(1, "Connect"),
    "DELETE": _Act(2, "Delete"),
    "GET": _Act(3, "Get"),
    "HEAD": _Act(4, "Head"),
    "OPTIONS": _Act(5, "Options"),
    "POST": _Act(6, "Post"),
    "PUT": _Act(7, "Put"),
    "TRACE": _Act(8, "Trace"),
}
_LIFE_ACTS: Final = {
    Event.SERVER_START: _Act(3, "Start"),
    Event.SERVER_STOP: _Act(4, "Stop"),
}


def event_of(step: Step, identity: str) -> Json:
    """
    The event of a record of the store `identity` (64 hex digits); an outcome's needs its decision.
    """
    record, subject = step.record, step.decision or step.record
    asked = asked_of(subject.request) if subject.request is not None else Asked("")
    kind = _class_of(subject, asked)
    act = _act_of(kind, step, asked)
    category, name = _NAMES[kind]
    event: Json = {
        "activity_id": act.number,
        "activity_name": act.name,
        "category_uid": kind // 1000,
        "category_name": category,
        "class_uid": int(kind),
        "class_name": name,
        "type_uid": kind * 100 + act.number,
        "type_name": f"{name}: {act.name}",
        "time": record.wall_ns // 10**6,
        **_severity(subject),
        **_status(record),
        "message": _message(step),
        "metadata": _metadata(step, identity),
        **_control(subject),
        **_OBJECTS[kind](subject, asked),
        "unmapped": _unmapped(record),
    }
    return event


def _class_of(subject: Record, asked: Asked) -> Class:
    if subject.event in _LIFE_ACTS:
        return Class.LIFECYCLE
    if subject.event is not Event.DECISION:
        return Class.API
    if asked.kind in FILE_KINDS:
        return Class.FILE
    return _KIND_CLASSES.get(asked.kind, Class.API)


_KIND_CLASSES: Final = {
    "run": Class.PROCESS,
    "connect": Class.NETWORK,
    "dial": Class.NETWORK,
    "http": Class.HTTP,
    "resolve": Class.DNS,
}


def _act_of(kind: Class, step: Step, asked: Asked) -> _Act:
    subject = step.decision or step.record
    match kind:
        case Class.LIFECYCLE:
            return _LIFE_ACTS[subject.event]
        case Class.FILE:
            return _FILE_ACTS[asked.kind]
        case Class.PROCESS:
            return _Act(1, "Launch")
        case Class.DNS:
            return _Act(1, "Query")
        case Class.HTTP:
            method = asked.method or ""
            return _HTTP_ACTS.get(method, _Act(_OTHER, method or "Other"))
        case Class.NETWORK:
            return _network_act(step)
        case Class.API:
            return _api_act(subject, asked)


def _network_act(step: Step) -> _Act:
    if (step.decision or step.record).answer is Answer.DENY:
        return _Act(5, "Refuse")
    if step.decision is None:
        return _Act(1, "Open")
    return _Act(2, "Close") if step.record.outcome == OK else _Act(4, "Fail")


def _api_act(subject: Record, asked: Asked) -> _Act:
    if subject.event is Event.FILE_RPC and asked.kind in _FILE_ACTS:
        return _FILE_ACTS[asked.kind]
    if subject.event is Event.SESSION_CREATE:
        return _CREATE
    return _Act(_OTHER, asked.kind or subject.event.value)


def _severity(subject: Record) -> Json:
    if subject.answer is Answer.DENY or subject.event is Event.WORKER_LOST:
        return {"severity_id": 2, "severity": "Low"}
    return {"severity_id": 1, "severity": "Informational"}


def _status(record: Record) -> Json:
    if record.answer is Answer.DENY:
        return {"status_id": 2, "status": "Failure"}
    if record.outcome is None:
        return {"status_id": 0, "status": "Unknown"}
    outcome = str(record.outcome)
    if record.event not in {Event.OUTCOME, Event.FILE_RPC, Event.CELL_END}:
        return {"status_id": 0, "status": "Unknown", "status_detail": outcome}
    if outcome == UNKNOWN:
        return {"status_id": 0, "status": "Unknown", "status_code": outcome}
    if outcome == OK:
        return {"status_id": 1, "status": "Success", "status_code": outcome}
    return {"status_id": 2, "status": "Failure", "status_code": outcome}


def _message(step: Step) -> str:
    record, subject = step.record, step.decision or step.record
    request = "" if subject.request is None else str(subject.request)
    word = record.answer.value if record.answer else record.event.value
    return f"{word}: {request}" if request else word


def _metadata(step: Step, identity: str) -> Json:
    record = step.record
    metadata: Json = {
        "version": VERSION,
        "uid": f"{identity}:{record.sequence}",
        "sequence": record.sequence,
        "event_code": record.event.value,
        "log_name": "codecage audit",
        "log_version": _FORMAT,
        "original_time": moment(record.wall_ns),
        "product": {"name": "Codecage", "vendor_name": "Codecage"},
    }
    if (step.decision or record).event is Event.DECISION:
        metadata["profiles"] = ["security_control"]
    if step.decision is not None:
        metadata["correlation_uid"] = f"{identity}:{step.decision.sequence}"
    elif record.refers is not None:
        metadata["correlation_uid"] = f"{identity}:{record.refers}"
    return metadata


def _control(subject: Record) -> Json:
    """
    The profile `security_control`: what was decided, by which rule of which policy.
    """
    if subject.answer is None:
        return {}
    allowed = subject.answer is Answer.ALLOW
    control: Json = {
        "action_id": 1 if allowed else 2,
        "action": "Allowed" if allowed else "Denied",
        "disposition_id": 1 if allowed else 2,
        "disposition": "Allowed" if allowed else "Blocked",
    }
    rule = {"name": subject.rule, "uid": subject.rule_place}
    if known := {key: str(text) for key, text in rule.items() if text is not None}:
        control["firewall_rule"] = known
    if subject.policy_digest is not None:
        control["policy"] = {"uid": subject.policy_digest}
    if (reason := dict(subject.detail).get("reason")) is not None:
        control["status_detail"] = reason if isinstance(reason, int) else str(reason)
    return control


def _actor(subject: Record) -> Json:
    actor: Json = {"app_name": "codecage client" if subject.session is None else "codecage guest"}
    if subject.session is not None:
        actor["session"] = {"uid": subject.session}
    return actor


def _cage(subject: Record) -> Json:
    """
    Where it came from: a session is a machine of its own.
    """
    return {"uid": subject.session or "server", "name": "codecage"}


def _file(subject: Record, asked: Asked) -> Json:
    path = asked.path or "/"
    about: Json = {"name": posixpath.basename(path) or path, "path": path, "type_id": 0}
    return {
        "actor": _actor(subject),
        "device": {"type_id": _VIRTUAL, **_cage(subject)},
        "file": about,
    }


def _process(subject: Record, asked: Asked) -> Json:
    name = posixpath.basename(asked.rest) or asked.rest
    uid = f"{subject.session}:{subject.sequence}"
    return {
        "actor": _actor(subject),
        "device": {"type_id": _VIRTUAL, **_cage(subject)},
        "process": {"uid": uid, "name": name, "cmd_line": asked.rest},
    }


def _network(subject: Record, asked: Asked) -> Json:
    target: Json = {"hostname": asked.host or "unknown"}
    if asked.port is not None:
        target["port"] = asked.port
    return {"src_endpoint": _cage(subject), "dst_endpoint": target}


def _http(subject: Record, asked: Asked) -> Json:
    url: Json = {"url_string": asked.rest, "path": asked.path or "/"}
    if asked.host is not None:
        url["hostname"] = asked.host
    if asked.port is not None:
        url["port"] = asked.port
    request: Json = {"url": url}
    if asked.method in _HTTP_ACTS:
        # The schema has no other methods; another is the activity's name.
        request["http_method"] = asked.method
    return {**_network(subject, asked), "http_request": request}


def _dns(subject: Record, asked: Asked) -> Json:
    return {"src_endpoint": _cage(subject), "query": {"hostname": asked.host or "unknown"}}


def _lifecycle(_: Record, __: Asked) -> Json:
    return {"app": {"name": "Codecage", "vendor_name": "Codecage"}}


def _api(subject: Record, _: Asked) -> Json:
    operation = subject.event.value if subject.request is None else str(subject.request)
    return {
        "actor": _actor(subject),
        "api": {"operation": operation},
        "src_endpoint": _cage(subject),
    }


_OBJECTS: Final[Mapping[Class, Callable[[Record, Asked], Json]]] = {
    Class.FILE: _file,
    Class.PROCESS: _process,
    Class.NETWORK: _network,
    Class.HTTP: _http,
    Class.DNS: _dns,
    Class.LIFECYCLE: _lifecycle,
    Class.API: _api,
}


def _unmapped(record: Record) -> Json:
    found: Json = {
        "origin": record.origin.value,
        "session": record.session,
        "cell": record.cell,
        "ordinal": record.ordinal,
        "refers": record.refers,
        "bytes": record.size,
        "digest": None if record.digest is None else record.digest.hex(),
        "hash": record.hash.hex(),
        "root": record.root.hex(),
        "detail": {key: value_json(value) for key, value in record.detail} or None,
        "erased": record.erased or None,
    }
    return {key: value for key, value in found.items() if value is not None}
