"""
The launcher: a small process that starts zygotes, so that the server never forks.

The server holds gRPC's threads and, later, users' sessions; a fork of it would copy both. So it
executes this program before it imports anything large, and asks it by one datagram for each
zygote. The datagram names an index into a table that was the first datagram of all, sent before
anybody was served: whoever takes the server over later can have a known zygote started again, and
nothing else. Until the table comes, the launcher starts one program ahead, which imports and
waits for its row (`kernel/ahead.py`): a zygote's imports then run beside the server's.

It ends when the server does: its socket closes, and the kernel sends SIGKILL when the thread
that started it is gone. Zygotes hold the same two ropes to it and to the server.

Programs run with `-I`: no environment variable and no current directory adds to what can be
imported. Because that also hides a source checkout, the directories that the server itself was
loaded from are passed as an argument, and only those that the isolated interpreter does not
know by itself are put in front. (Rejected: `-P` with PYTHONPATH, which would leave the user's
site directory and every other PYTHON* variable in force.)
"""

import os
import socket
import subprocess
import sys

# Type checkers know the name. The first zygote waits for what is imported here: neither `typing`
# nor `dataclasses`, and `json` when the table is there.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# All that is imported stays: no collection looks at it, neither meanwhile nor later.
_BOOT = (
    "import gc, importlib, sys; "
    "gc.disable(); "
    "sys.path[:0] = [path for path in {paths!r} if path not in sys.path]; "
    "program = importlib.import_module(sys.argv[1]); "
    "gc.freeze(); "
    "gc.enable(); "
    "sys.exit(program.main(sys.argv[2:]))"
)
# Where caches of images are found, and how programs and certificates are; nothing of the user's.
_KEPT = ("PATH", "HOME", "XDG_CACHE_HOME", "CODECAGE_CACHE")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_PROCESS = "executor.children.launching"
ZYGOTE = "executor.children.zygote"
"""The program of most zygotes: what is worth its start before a server knows its images."""


class Launcher:
    """
    The running launcher, seen from the server: the socket to ask on, and its process.
    """

    def __init__(self, channel: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        self.channel = channel
        self.process = process
        self.ahead: dict[int, socket.socket] = {}

    def give(self, table: "Sequence[Sequence[str]]") -> None:
        """
        Give the command lines that may be run, once and before anything is asked for;
        `--socket FD` is added to them.

        Raises ValueError for a table of more than 100,000 bytes, OSError when the launcher is gone.
        """
        import json  # noqa: PLC0415 - after the launcher's start

        from executor.kernel.starting import TABLE_MAX  # noqa: PLC0415 - as above

        data = json.dumps([list(row) for row in table]).encode()
        if len(data) > TABLE_MAX:
            raise ValueError(f"a table of {len(data)} bytes; {TABLE_MAX} are possible")
        self.channel.send(data)

    def start_zygote(self, number: int, image: int, end: socket.socket) -> None:
        """
        Ask for zygote `number` of table row `image`; `end` is its side of a SOCK_SEQPACKET pair.

        Raises OSError when the launcher is gone.
        """
        from executor.kernel.starting import zygote_request  # noqa: PLC0415 - as above

        socket.send_fds(self.channel, [zygote_request(number, image)], [end.fileno()])

    def start_ahead(self, image: int) -> None:
        """
        Start a zygote of table row `image` that nobody has asked for yet; `take_ahead` gives it.

        The server does so before it imports gRPC: the guest boots while Python reads files.
        """
        ours, theirs = _pair()
        with theirs:
            self.start_zygote(0, image, theirs)
        self.ahead[image] = ours

    def take_ahead(self, image: int) -> socket.socket | None:
        """
        Our end of a zygote that was started ahead, once; None where there is none.
        """
        return self.ahead.pop(image, None)

    def stop(self) -> None:
        """
        End the launcher and wait for it; its zygotes end with it.
        """
        for unclaimed in (*self.ahead.values(), self.channel):
            unclaimed.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def launch(table: "Sequence[Sequence[str]] | None" = None, *, ahead: str = "") -> Launcher:
    """
    Start the launcher, and give it the table if there is one yet (else: `Launcher.give`).

    `ahead` is a module that waits for its row if it is run as `MODULE --ahead FD`; it is started
    at once. Call it from the main thread, before threads start: the parent-death signal is bound
    to the calling thread. Raises OSError when it cannot be started.
    """
    waiting = program(ahead) if ahead else ()
    ours, theirs = _pair()
    # The launcher has both ends of this one, and gives the second to the program ahead.
    row, taker = _pair()
    with theirs, row, taker:
        numbers = (theirs.fileno(), row.fileno(), taker.fileno())
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*_launcher(), *map(str, numbers), str(os.getpid()), *waiting],
            env=environment(os.environ),
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    started = Launcher(ours, process)
    if table is not None:
        started.give(table)
    return started


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _launcher() -> tuple[str, ...]:
    # Without what is installed (-S), of which it needs nothing: no .pth file is run for it.
    return (sys.executable, "-S", *program(_PROCESS)[1:])


def program(module: str, *arguments: str) -> tuple[str, ...]:
    """
    The command line that runs `main` of `module`, with the arguments, in an isolated interpreter
    with our import path.
    """
    text = _BOOT.format(paths=import_paths())
    return (sys.executable, "-I", "-B", "-c", text, module, *arguments)


def import_paths() -> list[str]:
    """
    The directories from which this process has our packages; the generated ones lie in `proto/`.
    """
    root = os.path.realpath(f"{__file__}/../../..")
    return [*filter(os.path.isdir, (root, f"{root}/proto"))]


def runtime_paths() -> list[str]:
    """
    The directories that hold the server's own code and the interpreter's environment.
    """
    packages = (package for package in ("agent_client", "codecage", "executor", "policy"))
    found = {f"{path}/{name}" for name in packages for path in import_paths()}
    return [*sorted(filter(os.path.isdir, found)), sys.prefix]


def environment(given: "Mapping[str, str]") -> dict[str, str]:
    """
    What a zygote sees of the server's environment.
    """
    kept = {name: given[name] for name in _KEPT if name in given}
    return {"PATH": _PATH, **kept, "LANG": "C.UTF-8"}
