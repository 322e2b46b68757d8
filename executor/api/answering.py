"""
How a call ends that does not end well: our errors as gRPC statuses, with a reason for programs.

The details are a google.rpc.Status with one google.rpc.ErrorInfo (the messages of our own
protocol are wire-compatible with them), in the trailer that gRPC reserves for them. What nobody
foresaw becomes INTERNAL with a number and nothing else; the number finds the traceback in the log.
"""

import functools
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, NoReturn, TypeVar

import grpc

from codecage.v1 import codecage_pb2 as wire
from executor.kernel.errors import ExecutorError

_LOG = logging.getLogger(__name__)
_TRAILER: Final = "grpc-status-details-bin"
_TYPE: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_DOMAIN: Final = "codecage"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_S = TypeVar("_S")
_Q = TypeVar("_Q")
_A = TypeVar("_A")
_Context = grpc.aio.ServicerContext[Any, Any]


def one(
    method: Callable[[_S, _Q, _Context], Awaitable[_A]],
) -> Callable[[_S, _Q, _Context], Awaitable[_A]]:
    """
    A method with one reply, whose errors become statuses.
    """

    @functools.wraps(method)
    async def answered(self: _S, request: _Q, context: _Context) -> _A:
        try:
            return await method(self, request, context)
        except Exception as error:  # noqa: BLE001 - the edge: nothing but statuses leaves here
            await _abort(context, error)

    return answered


def many(
    method: Callable[[_S, _Q, _Context], AsyncIterator[_A]],
) -> Callable[[_S, _Q, _Context], AsyncIterator[_A]]:
    """
    A method with a stream of replies, whose errors become statuses.
    """

    @functools.wraps(method)
    async def answered(self: _S, request: _Q, context: _Context) -> AsyncIterator[_A]:
        try:
            # Closed at once when the client goes, so that the cell hears of it.
            async with aclosing(method(self, request, context)) as replies:  # type: ignore[type-var]
                async for reply in replies:
                    yield reply
        except Exception as error:  # noqa: BLE001 - the edge: nothing but statuses leaves here
            await _abort(context, error)

    return answered


def details(error: ExecutorError) -> bytes:
    """
    The trailer's bytes.
    """
    info = wire.ErrorInfo(reason=error.reason, domain=_DOMAIN, metadata=error.metadata)
    packed = wire.PackedDetail(type_url=_TYPE, value=info.SerializeToString())
    return wire.StatusDetails(
        code=error.status.value, message=error.message, details=[packed]
    ).SerializeToString()


async def _abort(context: _Context, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.BaseError):
        raise error  # gRPC's own, of a call that has been aborted, or whose client has gone
    if not isinstance(error, ExecutorError):
        incident = secrets.token_hex(8)
        _LOG.error("incident %s", incident, exc_info=error)
        await context.abort(
            grpc.StatusCode.INTERNAL,
            f"a fault in the server, incident {incident}; its administrator finds it in the log",
        )
    if error.detail:
        _LOG.warning("%s: %s", error.reason, error.detail)
    await context.abort(_CODES[error.status.value], error.message, ((_TRAILER, details(error)),))
