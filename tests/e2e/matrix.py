"""
Every rule of a policy on every cage: one thing that works under it and one, next to it, that does
not. `docs/policies.md` has the table that is printed from this.
"""

from dataclasses import dataclass

BOTH = ("core", "native-core")
DATA = "- {mount: /data, source: DATA, access: read"
OUT = "- {mount: /out, source: OUT, access: read-write"


@dataclass(frozen=True, slots=True)
class Row:
    """
    `text` is the rule with DATA, OUT and PORT in place of a directory, one to write in, and a
    port; `allowed` and `denied` are expressions of a guest, `error` what the second raises; `not_in`
    says why the process cage cannot keep the rule, in the words of the error of the load.
    """

    rule: str
    text: str
    allowed: str
    denied: str
    error: str
    images: tuple[str, ...] = BOTH
    not_in: str = ""


HTTP = "http.client.HTTPConnection('localhost', PORT, timeout=20)"
ROWS = (
    Row(
        "filesystem: a mount",
        f"filesystem:\n  {DATA}}}\n",
        "open('/data/a').read()",
        "open('/other/a')",
        "FileNotFoundError",
    ),
    Row(
        "access: read",
        f"filesystem:\n  {DATA}}}\n  {OUT}}}\n",
        "open('/out/new', 'w').write('x')",
        "open('/data/new', 'w')",
        "OSError",
    ),
    Row(
        "filesystem.deny",
        f"filesystem:\n  {DATA}, deny: ['*.key']}}\n",
        "open('/data/a').read()",
        "open('/data/x.key')",
        "FileNotFoundError",
    ),
    Row(
        "quota",
        f"filesystem:\n  {OUT}, quota: 1Ki}}\n",
        "open('/out/small', 'w').write('x')",
        "written('/out/large', 5000)",
        "OSError",
    ),
    Row(
        "max_files",
        f"filesystem:\n  {OUT}, max_files: 1}}\n",
        "open('/out/one', 'w').write('x')",
        "[open(f'/out/{n}', 'w').close() for n in range(3)]",
        "OSError",
    ),
    Row(
        "deny",
        f"filesystem:\n  {DATA}}}\ndeny: [{{path: /data/private/**}}]\n",
        "open('/data/a').read()",
        "open('/data/private/x')",
        "FileNotFoundError",
    ),
    Row(
        "network: host and ports",
        "network: [{host: localhost, scheme: http, ports: [PORT], addresses: [loopback]}]\n",
        f"status({HTTP}, 'GET', '/')",
        "socket.create_connection(('localhost', 9), timeout=20)",
        "PermissionError",
    ),
    Row(
        "network: none",
        "network: none\n",
        "1",
        "socket.create_connection(('localhost', PORT), timeout=20)",
        "OSError",
    ),
    Row(
        "http.paths",
        "network: [{host: localhost, scheme: http, ports: [PORT], addresses: [loopback], "
        "http: [{methods: [GET, POST], paths: [/ok]}]}]\n",
        f"status({HTTP}, 'GET', '/ok')",
        f"status({HTTP}, 'GET', '/other')",
        "OSError",
    ),
    Row(
        "http.methods",
        "network: [{host: localhost, scheme: http, ports: [PORT], addresses: [loopback], "
        "http: [{methods: [GET]}]}]\n",
        f"status({HTTP}, 'GET', '/ok')",
        f"status({HTTP}, 'POST', '/ok')",
        "OSError",
    ),
    Row(
        "process.fork",
        "process: {fork: true}\n",
        "forked()",
        "subprocess.run(['/usr/bin/true'])",
        "PermissionError",
        images=("native-core",),
    ),
    Row(
        "process.programs",
        "process: {programs: [/usr/bin/true]}\n",
        "subprocess.run(['/usr/bin/true']).returncode",
        "subprocess.run(['/usr/bin/false'])",
        "OSError",
        images=("native-core",),
    ),
    Row(
        "environment",
        "environment: {YEAR: '2026'}\n",
        "os.environ['YEAR']",
        "os.environ['MONTH']",
        "KeyError",
    ),
    Row(
        "random",
        "random: {seed: 7}\n",
        "os.urandom(4)",
        "1 / (os.urandom(4) == os.urandom(4))",
        "ZeroDivisionError",
        images=("core",),
        not_in="random bytes come from the kernel in the process cage",
    ),
    Row(
        "clock",
        "clock: frozen\n",
        "time.time()",
        "1 / (time.time() != 1767225600)",
        "ZeroDivisionError",
        images=("core",),
        not_in="the time is the kernel's in the process cage",
    ),
)


def table() -> str:
    """
    The rows as a table of Markdown.
    """
    lines = ["| rule | works | does not | cages |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        cages = {BOTH: "both", ("core",): "wasm", ("native-core",): "process"}[row.images]
        lines.append(f"| `{row.rule}` | `{row.allowed}` | `{row.denied}`: {row.error} | {cages} |")
    return "\n".join(lines)
