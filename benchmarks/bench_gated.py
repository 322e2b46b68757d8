"""
What a served mount costs: the same programs on the host's own file system, on a view (a bind that
nobody asks about), on a served mount of the process cage, and in the wasm cage.

    python benchmarks/bench_gated.py

Each cell is run five times and the best counts. `open+read+close` is of a file of 100 bytes, a
thousand times; `read` of 100 MB that are in memory, by 1 MiB; `import` is of a package of twenty
modules, compiled anew each time; `walk` looks at a thousand files.
"""

import sys
import tempfile
import textwrap
import time
from pathlib import Path

import agent_client

FILES, SIZE, MODULES, ROUNDS = 1000, 100 * 10**6, 20, 5
PROGRAMS = {
    "open+read+close, us each": (
        """
        for i in range(FILES):
            with open(f"{AT}/small/{i % 10}", "rb") as file:
                file.read()
        """,
        1e6 / FILES,
    ),
    "read of 100 MB, MB/s": (
        """
        with open(f"{AT}/large", "rb", buffering=0) as file:
            total = 0
            while data := file.read(2**20):
                total += len(data)
        assert total == SIZE
        """,
        None,
    ),
    "import of 20 modules, ms": (
        """
        import importlib, sys
        sys.dont_write_bytecode = True
        sys.path.insert(0, AT)
        importlib.invalidate_caches()
        import package
        for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
            del sys.modules[name]
        sys.path.remove(AT)
        """,
        1e3,
    ),
    "walk of 1000 files, us each": (
        """
        import os
        for above, _, names in os.walk(f"{AT}/many"):
            for name in names:
                os.stat(f"{above}/{name}")
        """,
        1e6 / FILES,
    ),
    "write of 16 MB, MB/s": (
        """
        with open(f"{OUT}/written", "wb", buffering=0) as file:
            for i in range(64):
                file.write(bytes(2**18))
        """,
        None,
    ),
}
AMOUNT = {"read of 100 MB, MB/s": SIZE / 1e6, "write of 16 MB, MB/s": 64 * 2**18 / 1e6}
POLICY = """
version: 1
name: {name}
description: the benchmark of served mounts
cage: any
image: [core, native-core]
filesystem:
  - {{mount: /data, source: {host}/data, access: read{deny}}}
  - {{mount: /out, source: {host}/out, access: read-write, quota: 10Gi}}
limits: {{requests: 100000000, wall_time: 10m, cpu_time: 10m}}
"""


def main():
    with tempfile.TemporaryDirectory() as place:
        host = Path(place)
        host.chmod(0o755)
        populate(host)
        figures = {"host": run_here(host)}
        with agent_client.connect(policies=policies(host)) as cage:
            for column, policy, image in (
                ("view", "shown", "native-core"),
                ("served", "gated", "native-core"),
                ("wasm", "gated", "core"),
            ):
                with cage.session(policy, image=image) as session:
                    figures[column] = run_there(session)
        show(figures)


def populate(host):
    data = host / "data"
    for directory in ("small", "many", "package"):
        (data / directory).mkdir(parents=True)
    (host / "out").mkdir()
    (host / "out").chmod(0o777)
    for name in range(10):
        (data / "small" / str(name)).write_bytes(bytes(100))
    for name in range(FILES):
        (data / "many" / str(name)).touch()
    (data / "large").write_bytes(bytes(SIZE))
    names = [f"m{number}" for number in range(MODULES)]
    (data / "package" / "__init__.py").write_text(
        "".join(f"from package import {name}\n" for name in names)
    )
    for name in names:
        (data / "package" / f"{name}.py").write_text("def f(a, b):\n    return a + b\n" * 20)


def policies(host):
    directory = host / "policies"
    directory.mkdir()
    for name, deny in (("shown", ""), ("gated", ", deny: ['*.key']")):
        text = POLICY.format(name=name, host=host, deny=deny)
        (directory / f"{name}.yaml").write_text(text)
    return str(directory)


def program(name, at, out):
    body = textwrap.indent(textwrap.dedent(PROGRAMS[name][0]), "    ")
    facts = f"AT, OUT, FILES, SIZE = {at!r}, {out!r}, {FILES}, {SIZE}\n"
    return f"{facts}def work():\n{body}\nwork()\n"


def figure(name, seconds):
    scale = PROGRAMS[name][1]
    return AMOUNT[name] / seconds if scale is None else seconds * scale


def run_here(host):
    found = {}
    for name in PROGRAMS:
        code = compile(program(name, f"{host}/data", f"{host}/out"), name, "exec")
        found[name] = figure(name, best(lambda code=code: exec(code, {})))
    (host / "out" / "written").unlink()  # which is not the server's user's
    return found


def run_there(session):
    found = {}
    for name in PROGRAMS:
        code = program(name, "/data", "/out")
        nothing = best(lambda: session.run("None"))
        found[name] = figure(name, best(lambda code=code: ran(session, code)) - nothing)
    return found


def ran(session, code):
    result = session.run(code)
    if result.error is not None:
        sys.exit(f"{result.error}\n{code}")


def best(act):
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return min(times)


def show(figures):
    width = max(map(len, PROGRAMS))
    print(" " * width, *(f"{column:>10}" for column in figures))
    for name in PROGRAMS:
        print(f"{name:<{width}}", *(f"{figures[column][name]:10.1f}" for column in figures))


if __name__ == "__main__":
    main()
