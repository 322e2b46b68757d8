"""
The commands of `codecage audit` that give copies of the record to others: export, trace.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from copy import copy
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from executor.audit import report
from executor.audit.command import print_lines, runs
from executor.audit.errors import ExtraMissing
from executor.audit.escape import visible
from executor.audit.review import export
from executor.audit.review.options import after_option, filter_of, session_option
from executor.audit.review.written import replaced

if TYPE_CHECKING:
    from executor.audit.command import Subparsers
    from executor.audit.review.tracing import Sent, Trace

_POLL = 0.5
_PARQUET = "parquet"
_FORMS = (*(form.value for form in export.Form), _PARQUET)


def register(
    commands: "Subparsers", shared: argparse.ArgumentParser, filters: argparse.ArgumentParser
) -> None:
    """
    Add the commands; the two parsers are options of several.
    """
    out = commands.add_parser(
        "export", parents=[shared, filters], help="write the record for other programs"
    )
    session_option(out)
    out.add_argument(
        "--format",
        type=_form,
        default=export.Form.JSONL.value,
        metavar="jsonl|csv|ocsf|parquet",
        help="JSON lines, CSV, events of OCSF, one a line, or Parquet (default: jsonl)",
    )
    out.add_argument(
        "--to", type=Path, metavar="FILE", help="made or replaced, for its owner (default: stdout)"
    )
    after_option(out)
    runs(out, _export)

    trace = commands.add_parser(
        "trace", parents=[shared], help="send sessions and cells to a collector of OpenTelemetry"
    )
    trace.add_argument(
        "--to",
        type=_collector,
        required=True,
        metavar="URL",
        help="grpc://127.0.0.1:4317, or http://127.0.0.1:4318; grpcs and https for TLS",
    )
    after_option(trace)
    trace.add_argument(
        "--state", type=Path, metavar="FILE", help="remember how far in this file, and go on there"
    )
    trace.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    trace.add_argument(
        "--checkpoints", type=Path, metavar="FILE", help="send these signed heads as well"
    )
    runs(trace, _trace)


def _form(text: str) -> str:
    if text not in _FORMS:
        raise argparse.ArgumentTypeError(f"{text!r}: write jsonl, csv, ocsf or parquet")
    return text


def _collector(text: str) -> str:
    wanted = f"{text!r}: write grpc://HOST:PORT or http://HOST:PORT, without /v1/traces"
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(wanted) from error
    calls = found.scheme in {"grpc", "grpcs"} and port is not None and found.path in {"", "/"}
    plain = (calls or found.scheme in {"http", "https"}) and found.hostname and not found.query
    odd = found.fragment or found.username is not None or not text.isprintable() or " " in text
    if not plain or odd:
        raise argparse.ArgumentTypeError(wanted)
    return text


def _export(args: argparse.Namespace) -> int:
    which = filter_of(args)
    form = export.Form.JSONL.value if args.json else args.format
    if form == _PARQUET:
        _require("pyarrow.parquet", "parquet")
        from executor.audit.review import parquet  # noqa: PLC0415 - a large library

        if args.to is None and sys.stdout.isatty():
            raise LookupError("Parquet is not for a terminal: give --to FILE")
        with _target(args.to) as file:
            parquet.write(args.audit, file, which, after=args.after)
        return 0
    lines = export.export(args.audit, export.Form(form), which, after=args.after)
    if args.to is None:
        print_lines(lines)
        return 0
    with _target(args.to) as file:
        file.writelines(f"{line}\n".encode() for line in lines)
    return 0


def _target(path: Path | None) -> AbstractContextManager[BinaryIO]:
    return _stdout() if path is None else replaced(path)


@contextmanager
def _stdout() -> Iterator[BinaryIO]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def _trace(args: argparse.Namespace) -> int:
    _require("opentelemetry.exporter.otlp.proto.common", "otel")
    # They bring gRPC and the SDK along, which the other commands have no use for.
    from executor.audit.review.collector import collector  # noqa: PLC0415
    from executor.audit.review.tracing import Sent, Trace  # noqa: PLC0415

    if args.after and args.state is not None:
        raise LookupError("--after or --state: the file says where to go on")
    sent = Sent(args.after)
    with closing(collector(args.to)) as to:
        trace = Trace(args.audit, to, sent, args.state)
        while True:
            before = copy(sent)
            _send(trace, args.checkpoints)
            if sent != before or not args.follow:
                _print_sent(args, sent)
            if not args.follow:
                return 1 if sent.lost or sent.refused or sent.events_lost else 0
            time.sleep(_POLL)


def _send(trace: "Trace", checkpoints: Path | None) -> None:
    trace.send()
    if checkpoints is not None:
        trace.send_checkpoints(checkpoints)


def _print_sent(args: argparse.Namespace, sent: "Sent") -> None:
    if args.json:
        print_lines([report.dump(asdict(sent))])
    else:
        print_lines([visible(_told(sent))])
    sys.stdout.flush()


def _told(sent: "Sent") -> str:
    told = f"to record {sent.reached}: {sent.taken} spans and {sent.events} events taken"
    lost = [
        f"{count} {what}"
        for count, what in (
            (sent.lost, "spans"),
            (sent.events_lost, "events"),
            (sent.refused, "pages of metrics"),
        )
        if count
    ]
    return f"{told}, not taken: {', '.join(lost)} ({sent.why})" if lost else told


def _require(module: str, extra: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise ExtraMissing(
            f"{error.name} is not installed: pip install 'codecage[{extra}]'"
        ) from error
