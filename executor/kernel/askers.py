"""
Who may ask for what: a worker in the wasm cage, a worker in a box, the supervisor for its kernel.
"""

from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.kernel.boxsockets import SOCKET_ASKS
from executor.kernel.errors import WorkerFault
from executor.kernel.tools import TOOL_ASKS
from policy.types import CageKind

# All that a worker in a box asks for. Its kernel asks for files, through the supervisor, and its
# connections are accepted. A file's descriptor above all is not for it: none of the box's mounts
# holds that, so it carries chmod and utime where the box has the server's user, locks that other
# programs of the host wait for, and code from where the guest has written it.
_OF_A_BOX: Final = frozenset(
    {"run", "denial", "refused", "refusal", "network", "address", "transact", *TOOL_ASKS}
)


def require_of_worker(cage: CageKind, kind: str, ask: frames_pb2.Ask) -> None:
    """
    Raises WorkerFault for an ask that a worker of this cage never sends.
    """
    if cage is CageKind.PROCESS and kind not in _OF_A_BOX:
        raise WorkerFault(f"a worker in a box asked for {kind!r}, which its kernel does")
    if cage is CageKind.WASM and kind == "refused":
        raise WorkerFault("the worker asked what only the kernel of a box has refused")
    if cage is CageKind.WASM and kind == "address":
        raise WorkerFault("the worker asked for an address, and it has names of its own")
    if kind == "lookup" or kind in SOCKET_ASKS or ask.open.keep:
        raise WorkerFault(f"the worker asked for {kind!r} as only the supervisor may")
