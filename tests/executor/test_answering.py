import logging

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from codecage.v1 import codecage_pb2 as pb
from executor import errors
from executor.api.answering import details
from executor.kernel.errors import ExecutorError, InternalError, SourceUnavailable
from tests.executor.fakes.served import serving

EXAMPLES = {
    errors.NotProved: ("the heads differ",),
    errors.InvalidRequest: ("CODE_TOO_LONG", "too long"),
    errors.PolicyNotFound: ("x",),
    errors.SessionNotFound: (),
    errors.SessionLost: ("why",),
    errors.CellRunning: (1,),
    errors.CellNotFound: (1, 2),
    errors.LimitReached: ("limits.cells", 1, "do this"),
    errors.FileRefused: (2, "no such file"),
    errors.AuditRefuses: (),
    errors.CageUnavailable: ("/secret/detail",),
    errors.Draining: (),
    errors.CannotStart: ("why",),
    SourceUnavailable: ("/data", "rule", "/secret/source", "why"),
}


def every(kind: type[ExecutorError]) -> set[type[ExecutorError]]:
    below = {deeper for child in kind.__subclasses__() for deeper in every(child)}
    return below | set(kind.__subclasses__())


def test_every_error_has_an_example_here():
    assert {kind for kind in every(ExecutorError) if kind.__module__.startswith("executor")} >= set(
        EXAMPLES
    )
    assert {kind for kind in every(ExecutorError) if kind.__module__ == "executor.errors"} == {
        kind for kind in EXAMPLES if kind.__module__ == "executor.errors"
    }


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_that_google_rpc_reads(kind):
    error = kind(*EXAMPLES[kind])
    status = status_pb2.Status.FromString(details(error))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (error.reason, "codecage")
    assert status.code == error.status.value
    assert any(code.value[0] == status.code for code in grpc.StatusCode)
    assert info.reason == info.reason.upper()
    assert "/secret" not in str(status)


def test_what_nobody_foresaw_is_a_number_and_its_traceback_is_in_the_log(tmp_path, caplog):
    async def scenario(server):
        def broken():
            raise InternalError("a secret of the server")

        server.sessions.list = broken
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.ListSessions(pb.ListSessionsRequest())
        del server.sessions.list
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in caught.value.details()
        incident = caught.value.details().split("incident ")[1].split(";")[0]
        assert f"incident {incident}" in caplog.text
        assert "a secret of the server" in caplog.text

    with caplog.at_level(logging.ERROR):
        serving(tmp_path, scenario)
