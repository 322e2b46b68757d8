"""
A zygote that is started before anybody knows of which image: it imports, and waits for its row.

The launcher starts one beside the server's own imports, and hands it the first row of its table
that is such a zygote's: what would have been its command line, and the socket that it serves. So
a zygote still gets nothing that is not in the launcher's table.
"""

import json
import socket
from collections.abc import Sequence

# A name, a key and two numbers; a longer datagram is cut by the kernel and then is no JSON.
_ROW_MAX = 4096


def hand_over(waiting: socket.socket, arguments: Sequence[str], server: int) -> bool:
    """
    Give the waiting process its arguments and descriptor `server`; false if it is gone.

    `waiting` is our end of a SOCK_SEQPACKET pair.
    """
    try:
        socket.send_fds(waiting, [json.dumps(list(arguments)).encode()], [server])
    except OSError:
        return False
    return True


def take_over(waiting: socket.socket) -> tuple[list[str], int] | None:
    """
    Wait for the arguments and the descriptor; None when there will be none.

    Raises ValueError for a message that is not one.
    """
    data, received, _, _ = socket.recv_fds(waiting, _ROW_MAX, 1)
    if not data:
        return None
    if len(received) != 1:
        raise ValueError(f"a row with {len(received)} descriptors")
    arguments = [str(argument) for argument in json.loads(data)]
    return arguments, received[0]
