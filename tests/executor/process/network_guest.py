"""
A box with a network, and in it a guest that evaluates what it is sent.

Run by exec as `python network_guest.py SOCKET JOBS PORTS`: makes the box, sends the server's ends of
its network over the unix stream SOCKET, and waits for its end. The guest reads JSON texts, one a
line, from the stream JOBS, and answers each with one. What it needs is imported before there is a
box.
"""

import array
import asyncio
import concurrent.futures.thread
import contextlib
import encodings.idna
import errno
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import tempfile
import traceback
import urllib.request
from typing import Any

import box_range
import requests

from executor.process import jail
from executor.process.plan import CHANNEL

USED = (
    asyncio,
    concurrent.futures.thread,
    contextlib,
    encodings.idna,
    errno,
    hashlib,
    http.client,
    json,
    os,
    socket,
    ssl,
)
USED += (struct, tempfile, urllib.request, requests)
PREPARED = """
def attempt(act):
    try:
        return ["done", act()]
    except Exception as error:
        number = getattr(error, "errno", None)
        return [type(error).__name__, errno.errorcode.get(number, str(number))]
def rest(end):
    return b"".join(iter(lambda: end.recv(65536), b""))
def dial(host, port):
    return socket.create_connection((host, port), timeout=20)
def talk(host, port, data):
    with dial(host, port) as end:
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)
        return rest(end).decode("latin-1")
"""


def serve() -> Any:
    space: dict[str, object] = {one.__name__.partition(".")[0]: one for one in USED}
    space |= {"urllib": urllib, "http": http}
    exec(PREPARED, space)
    with socket.socket(fileno=CHANNEL).makefile("rw") as jobs:
        for line in jobs:
            job = json.loads(line)
            try:
                exec(job["before"], space)
                said = {"value": eval(job["code"], space)}
            except Exception:  # noqa: BLE001 - whatever it is, the test is told
                said = {"error": traceback.format_exc()}
            print(json.dumps(said), file=jobs, flush=True)
    os._exit(0)


def hand_over(channel: socket.socket, box: jail.Box) -> None:
    numbers = array.array("i", [box.names or -1, *box.listeners])
    channel.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    box.close_handed()
    channel.close()


def main(channel: int, jobs: int, ports: list[int]) -> None:
    # What the first of them does once is done before there is a box.
    requests.Session().close()
    ssl.create_default_context()
    asyncio.run(asyncio.sleep(0))
    os.dup2(jobs, CHANNEL)
    box = jail.clone_box(box_range.plan(ports=tuple(ports), names=True), serve)
    os.close(CHANNEL)
    os.close(jobs)
    hand_over(socket.socket(fileno=channel), box)
    os.waitid(os.P_PIDFD, box.pidfd, os.WEXITED | os.WNOWAIT)
    box.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
