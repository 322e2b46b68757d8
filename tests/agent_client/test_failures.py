import grpc
import pytest

import agent_client
from agent_client.failures import failure
from codecage.v1 import codecage_pb2 as pb


class Failed(grpc.RpcError):
    """
    A status as gRPC reports it, for those that a server on a socket does not produce at will.
    """

    def __init__(self, code, details="words", metadata=()):
        super().__init__()
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: metadata


def details(reason, domain="codecage", url="type.googleapis.com/google.rpc.ErrorInfo"):
    info = pb.ErrorInfo(reason=reason, domain=domain)
    status = pb.StatusDetails(
        details=[pb.PackedDetail(type_url=url, value=info.SerializeToString())]
    )
    return (("grpc-status-details-bin", status.SerializeToString()),)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("busy", agent_client.CellRunning, "CELL_RUNNING"),
        ("lost", agent_client.SessionLost, "SESSION_LOST"),
        ("too much", agent_client.LimitReached, "LIMIT_REACHED"),
        ("broken", agent_client.ServerFailed, "INTERNAL"),
    ],
)
def test_the_reason_of_the_server_decides_the_error(session, code, kind, reason):
    with pytest.raises(kind) as caught:
        session.run(code)
    assert caught.type is kind
    assert caught.value.reason == reason
    assert str(caught.value) == f"refused: {reason}"


def test_the_same_status_without_a_reason_is_another_error():
    code = grpc.StatusCode.FAILED_PRECONDITION
    lost = failure(Failed(code, metadata=details("SESSION_LOST")), "unix:/s")
    bare = failure(Failed(code), "unix:/s")
    assert type(lost) is agent_client.SessionLost
    assert type(bare) is agent_client.InvalidRequest


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_is_an_error_of_ours_with_the_address(code):
    error = failure(Failed(code), "unix:/s")
    assert isinstance(error, agent_client.CodecageError)
    assert "unix:/s" in str(error)
    assert "words" in str(error)


@pytest.mark.parametrize(
    "metadata",
    [
        details("SESSION_LOST", domain="elsewhere"),
        details("SESSION_LOST", url="type.googleapis.com/google.rpc.Help"),
        (("grpc-status-details-bin", b"\xff\xff\xff"),),
        (("grpc-status-details-bin", "text"),),
        (("other-bin", details("SESSION_LOST")[0][1]),),
        (),
        None,
    ],
)
def test_details_that_are_not_ours_or_not_readable_decide_nothing(metadata):
    error = failure(Failed(grpc.StatusCode.UNAVAILABLE, metadata=metadata), "unix:/s")
    assert type(error) is agent_client.ServerUnavailable
    assert error.reason == ""


def test_a_flood_of_words_is_cut():
    error = failure(Failed(grpc.StatusCode.INTERNAL, details="x" * 10**6), "unix:/s")
    assert len(str(error)) < 3000


def test_only_one_error_is_raised_and_not_the_one_of_grpc_beneath_it(session):
    with pytest.raises(agent_client.CellRunning) as caught:
        session.run("busy")
    assert caught.value.__suppress_context__
