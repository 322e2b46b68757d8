"""
The record as Parquet, read back by the library that most programs read it with.
"""

import io
import json
import subprocess
import sys
from contextlib import closing

import pyarrow as pa
import pytest
from audit_world import append_all, draft
from pyarrow import parquet as pq
from review_world import HOSTILE, asked, fill, hostile_world, run, world

from executor.audit.read import records, snapshot
from executor.audit.record import Answer, Event
from executor.audit.report import record_json
from executor.audit.review import parquet
from executor.audit.review.filters import Filter
from executor.audit.schema import genesis
from executor.audit.store import AuditStore


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "state" / "audit.sqlite3"
    return path, fill(path, world())


def read(path, **fields):
    out = io.BytesIO()
    parquet.write(path, out, Filter(**fields))
    return pq.ParquetFile(io.BytesIO(out.getvalue()))


def test_every_record_is_a_row_with_its_values_and_types(log):
    path, head = log
    with closing(read(path)) as file:
        table = file.read()
    assert table.schema.remove_metadata() == parquet.SCHEMA
    held = records(path)
    assert table["sequence"].to_pylist() == [one.sequence for one in held]
    assert table["time"].cast(pa.int64()).to_pylist() == [one.wall_ns for one in held]
    assert table["hash"].to_pylist() == [one.hash for one in held]
    for row, one in zip(table.drop(["time"]).to_pylist(), held, strict=True):
        told = json.loads(record_json(one))
        assert row["event"] == one.event.value
        assert row["request"] == one.request
        assert row["decision"] == (one.answer.value if one.answer else None)
        assert row["bytes"] == one.size
        assert row["digest"] == one.digest
        assert (json.loads(row["detail"]) if row["detail"] else {}) == told.get("detail", {})
    with snapshot(path) as db:
        identity = genesis(db).hex()
    assert table.schema.metadata == {
        b"codecage.audit.identity": identity.encode(),
        b"codecage.audit.head": str(head).encode(),
    }


def test_a_filter_keeps_rows_and_an_empty_answer_is_a_file_too(log):
    path, _ = log
    with closing(read(path, answer=Answer.DENY)) as file:
        assert file.read()["sequence"].to_pylist() == [6, 14]
    with closing(read(path, host="nobody.example")) as file:
        assert file.metadata.num_rows == 0
        assert file.schema_arrow.remove_metadata() == parquet.SCHEMA


def test_rows_are_written_in_groups_of_bounded_size(path, monkeypatch):
    fill(path, [draft(Event.SESSION_CREATE), *[asked("read /" + "x" * 990)] * 99])
    monkeypatch.setattr(parquet, "ROWS", 30)
    with closing(read(path)) as file:
        assert [file.metadata.row_group(n).num_rows for n in range(4)] == [30, 30, 30, 10]
    monkeypatch.setattr(parquet, "_TEXT_MAX", 10_000)
    with closing(read(path)) as file:
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert max(sizes) <= 11, "the first record has no text to speak of"
    assert sum(sizes) == 100


def test_a10_hostile_texts_come_back_as_they_were_asked_for(path):
    fill(path, hostile_world())
    with closing(read(path)) as file:
        requests = set(file.read()["request"].to_pylist())
    for text in HOSTILE:
        if len(text.encode("utf-8", "surrogatepass")) < 4000 and "\ud800" not in text:
            assert f"read /{text}" in requests
    assert "read /\\ud800 lone" in requests
    assert any(said and "\\cut{" in said for said in requests)


def test_what_is_written_during_an_export_is_left_to_the_next_one(log, path):
    fill(path, world())

    class Meddler(io.BytesIO):
        def write(self, data):
            if not self.tell():
                with AuditStore.open(path) as store:
                    append_all(store, [asked("read /later")])
            return super().write(data)

    out = Meddler()
    parquet.write(path, out)
    with closing(pq.ParquetFile(io.BytesIO(out.getvalue()))) as file:
        assert file.metadata.num_rows == 16


def test_the_command_writes_a_file_or_a_pipe(log, tmp_path):
    path, _ = log
    to = tmp_path / "audit.parquet"
    assert run("export", "--format", "parquet", "--to", to, "--audit", path) == 0
    assert to.stat().st_mode & 0o777 == 0o600
    command = ["export", "--format", "parquet", "--audit", str(path)]
    piped = subprocess.run(
        [sys.executable, "-m", "executor.cli", "audit", *command], capture_output=True, check=True
    )
    assert piped.stdout == to.read_bytes()
    with closing(pq.ParquetFile(to)) as file:
        assert file.metadata.num_rows == 16


def test_a_terminal_is_not_written_to(log, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("export", "--format", "parquet", "--audit", log[0]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "--to FILE" in err


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        (("export", "--format", "parquet"), "pyarrow", "parquet"),
        (("trace", "--to", "grpc://127.0.0.1:1"), "opentelemetry", "otel"),
    ],
)
def test_without_its_library_a_command_says_what_to_install(log, tmp_path, command, module, extra):
    """
    In a process in which that library is not found.
    """
    program = (
        "import sys\n"
        f"sys.modules[{module!r}] = None\n"
        "from executor.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, "audit", *command, "--audit", str(log[0])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert f"pip install 'codecage[{extra}]'" in told.stderr
    assert told.stdout == ""
