"""
Those who act for a box while it runs, as small as tests need them: a listener of refused calls, a
file system with one file, an echo of what was dialled, and a server of names.
"""

import errno
import os
import select
import socket
import struct
from contextlib import suppress

from executor.linux import notifications
from executor.linux.syscalls import NUMBERS
from executor.process.jail import Box

NAMES = {number: name for name, number in NUMBERS.items()}
TEXT = b"served by another process"
ADDRESS = "198.18.0.9"
# FUSE: opcodes, struct fuse_in_header, fuse_out_header, fuse_attr. Source: <linux/fuse.h>.
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT = 1, 2, 3, 14, 15, 18, 25, 26
IN, OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
ATTRIBUTES = struct.Struct("=6Q10I")
ROOT, FILE = 1, 2


class Others:
    """
    Serves what `box` handed over until it ends; `refused` are the calls that were notified.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._waiting = select.poll()
        self.refused: list[str] = []
        self._acts = dict.fromkeys(box.served, self._answer_file)
        self._acts |= dict.fromkeys(box.listeners, self._accept)
        if box.listener is not None:
            self._acts[box.listener] = self._refuse
        if box.names is not None:
            self._acts[box.names] = self._answer_name

    def serve(self) -> None:
        for number in (self._box.pidfd, *self._acts):
            self._waiting.register(number, select.POLLIN)
        while True:
            ready = self._waiting.poll(60_000)
            assert ready, "the box stands still"
            for number, _ in ready:
                if number == self._box.pidfd:
                    return
                self._acts[number](number)

    def _refuse(self, number: int) -> None:
        waiting = notifications.receive(number)
        if waiting is not None:
            self.refused.append(NAMES[waiting.number])
            assert notifications.refuse(number, waiting, errno.EPERM)

    def _accept(self, number: int) -> None:
        with socket.socket(fileno=os.dup(number)) as listener:
            made, _ = listener.accept()
        with made:
            made.sendall(f"{made.getsockname()[0]} {made.getsockname()[1]}".encode())

    def _answer_name(self, number: int) -> None:
        with socket.socket(fileno=os.dup(number)) as names:
            asked, who = names.recvfrom(512)
            end = asked.index(b"\0", 12) + 5
            kind = asked[end - 4 : end - 2]
            answers = 1 if kind == b"\0\1" else 0
            reply = asked[:2] + struct.pack(">5H", 0x8180, 1, answers, 0, 0) + asked[12:end]
            if answers:
                reply += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(ADDRESS)
            names.sendto(reply, who)

    def _answer_file(self, number: int) -> None:
        try:
            request = os.read(number, 1 << 17)
        except OSError as error:
            if error.errno != errno.ENODEV:  # the box has ended
                raise
            self._waiting.unregister(number)
            return
        _, operation, unique, node, *_ = IN.unpack_from(request)
        if operation == FORGET:
            return
        number_of_error, body = self._file(operation, node, request[IN.size :])
        with suppress(FileNotFoundError):  # who asked was interrupted, or has ended
            os.write(number, OUT.pack(OUT.size + len(body), -number_of_error, unique) + body)

    def _file(self, operation: int, node: int, rest: bytes) -> tuple[int, bytes]:
        if operation == INIT:
            return 0, struct.pack("=IIIIHHIIHHI28x", 7, 31, 0, 0, 8, 8, 1 << 16, 1, 0, 0, 0)
        if operation == GETATTR:
            return 0, struct.pack("=QII", 0, 0, 0) + _attributes(node)
        if operation == LOOKUP and rest == b"file\0":
            return 0, struct.pack("=QQQQII", FILE, 0, 0, 0, 0, 0) + _attributes(FILE)
        if operation == OPEN:
            return 0, struct.pack("=QII", 1, 0, 0)
        if operation == READ:
            return 0, TEXT
        if operation in {RELEASE, FLUSH}:
            return 0, b""
        return errno.ENOENT if operation == LOOKUP else errno.EACCES, b""


def _attributes(node: int) -> bytes:
    mode, size = (0o100644, len(TEXT)) if node == FILE else (0o40755, 0)
    return ATTRIBUTES.pack(node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 1000, 1000, 0, 4096, 0)
