"""
Every kind of error, with the exact text that an administrator reads, caret included.

Each text is one change away from a policy that loads; `test_the_policy_without_the_mistake_loads`
is the other half. Cases named Y or F are rows of the list of attacks.
"""

import pytest

from policy.errors import PolicyError, Problem
from policy.parse import parse

HEAD = "version: 1\nname: sample\n"
GRANT = "filesystem:\n  - {mount: /data, source: ./data, access: read}\n"


def grant(
    mount: str = "/data", source: str = "./data", access: str = "read", more: str = ""
) -> str:
    return f"{HEAD}filesystem:\n  - {{mount: {mount}, source: {source}, access: {access}{more}}}\n"


def two(first: str, second: str) -> str:
    return f"{HEAD}filesystem:\n  - {{{first}}}\n  - {{{second}}}\n"


def connect(more: str = "", host: str = "a.example") -> str:
    return f"{HEAD}network:\n  - {{host: {host}{', ' if more else ''}{more}}}\n"


NATIVE = f"{HEAD}cage: process\nimage: native-core\n"


def run(*programs: str) -> str:
    return f"{NATIVE}process:\n  programs:\n" + "".join(f"  - {one}\n" for one in programs)


STEERING = (
    "Host Connection Content-Length Transfer-Encoding Upgrade TE Trailer Proxy-Authorization "
    "Expect Keep-Alive Sec-WebSocket-Key X-HTTP-Method-Override x_forwarded_for content_length"
)

CASES = {
    # Reading YAML (Y01)
    "empty": "",
    "only-a-comment": "# nothing\n",
    "not-a-mapping": "- version\n",
    "syntax": HEAD + "limits: {memory: 64Mi\n",
    "syntax-after-a-mistake": HEAD + "discloze: true\nfilesystem:\n  - {mount: /data\n",
    "tab": HEAD + "limits:\n\tmemory: 64Mi\n",
    "colon-without-space": HEAD + "limits: {memory:64Mi}\n",
    "duplicate-key": HEAD + "disclose: false\ndisclose: true\n",
    "duplicate-key-nested": HEAD + "limits: {memory: 64Mi, memory: 4Gi}\n",
    "anchor-and-alias": HEAD + "environment: {A: &a x, B: *a}\n",
    "alias-as-key": HEAD + "environment: {A: &a x, *a : y}\n",
    "billion-laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "merge-key": HEAD + "limits:\n  <<: {memory: 4Gi}\n",
    "tag": HEAD + "description: !!python/object/apply:os.system [ls]\n",
    "tag-on-key": HEAD + "!!str disclose: false\n",
    "complex-key": HEAD + "? [a, b]\n: c\n",
    "directive": "%YAML 1.1\n---\n" + HEAD,
    "second-document": HEAD + "---\n" + HEAD,
    "too-deep": HEAD + "limits: " + "[" * 10_000 + "\n",
    "too-large": HEAD + "#" * 256 * 1024,
    "too-many-values": HEAD + "limits: [" + "1," * 20_001 + "]\n",
    "control-character": HEAD + "description: a\x07b\n",
    "right-to-left-override": HEAD + "description: a\u202eb\ndisclose: maybe\n",
    "line-separator": HEAD + "description: a\u2028disclose: true\n",
    "impossible-escape": HEAD + 'description: "\\Uffffffff"\n',
    "surrogate-escape": HEAD + 'description: "\\ud800"\n',
    "norway": HEAD + "environment: {COUNTRY: no}\n",
    "yes": HEAD + "disclose: yes\n",
    "octal": HEAD + "limits: {cells: 0o17}\n",
    "leading-zero": HEAD + "limits: {cells: 017}\n",
    "sexagesimal": HEAD + "limits: {cells: 1:30}\n",
    "date": HEAD + "environment: {DAY: 2025-01-01}\n",
    "long-number": HEAD + f"limits: {{cells: {'9' * 5000}}}\n",
    # Keys and types (Y03, Y04, Y05)
    "unknown-key": HEAD + "allow_netwrok: true\n",
    "unknown-key-close": HEAD + "limts: {memory: 64Mi}\n",
    "unknown-key-nested": HEAD + "limits: {memroy: 64Mi}\n",
    "unknown-key-of-another-word": HEAD
    + "image: native-core\ncage: process\nprocess: {exec: [/usr/bin/git]}\n",
    "unknown-key-in-grant": grant(more=", acess: read"),
    "unknown-key-random": HEAD + "random: {sed: 1}\n",
    "missing-everything": "description: nothing else\n",
    "missing-in-grant": HEAD + "filesystem:\n  - {mount: /data}\n",
    "text-for-list": HEAD + "filesystem: /data\n",
    "text-for-list-of-globs": grant(more=", deny: secret"),
    "text-for-mapping": HEAD + "limits: 512Mi\n",
    "list-for-mapping": HEAD + "environment: [A, B]\n",
    "text-for-grant": HEAD + "filesystem: [/data]\n",
    "number-for-text": HEAD + "environment: {REPORT_YEAR: 2025}\n",
    "boolean-for-text": HEAD + "description: true\n",
    "float-for-text": HEAD + "description: 1e3\n",
    "text-for-boolean": HEAD + 'disclose: "true"\n',
    "number-for-boolean": HEAD + "disclose: 1\n",
    "nothing-for-list": HEAD + "filesystem:\n",
    "nothing-for-mapping": HEAD + "limits: ~\n",
    "nothing-for-random": HEAD + "random:\n",
    "nothing-for-text": "version: 1\nname:\n",
    "mapping-for-text": HEAD + "description: {text: Says.}\n",
    "version-2": "version: 2\nname: sample\n",
    "version-text": 'version: "1"\nname: sample\n',
    "version-true": "version: true\nname: sample\n",
    "name": "version: 1\nname: Sample_1\n",
    "image": HEAD + "image: ../core\n",
    "image-of-a-list": HEAD + "image: [core, ../data]\n",
    "image-mapping": HEAD + "image: {name: core}\n",
    "image-number": HEAD + "image: 3\n",
    "image-number-in-a-list": HEAD + "image: [core, 3]\n",
    "image-nothing": HEAD + "image:\n",
    "image-empty-list": HEAD + "image: []\n",
    "image-twice": HEAD + "image:\n  - core\n  - data\n  - core\n",
    "image-list-in-a-list": HEAD + "image: [[core], [core]]\n",
    "image-seventeen": HEAD + f"image: [{', '.join(f'i{n}' for n in range(17))}]\n",
    "description-too-long": HEAD + f"description: {'x' * 1001}\n",
    "description-unprintable": HEAD + 'description: "a\\e[31mb"\n',
    "cage-unknown": HEAD + "cage: docker\n",
    "cage-of-another-image": HEAD + "cage: process\nimage: [native-core, data]\n",
    "cage-of-the-default-image": HEAD + "cage: process\n",
    "cage-of-a-native-image": HEAD + "image: native-data\n",
    "process-in-wasm": HEAD + "isolation: {min: P3}\nprocess: {fork: true}\n",
    "process-keys": NATIVE + "process: {frok: true, programs: git, new_code: true}\n",
    "process-nothing": NATIVE + "process:\n",
    "isolation-keys": NATIVE + "isolation: {min: P1, require: [memry, 3, []]}\n",
    "isolation-empty": NATIVE + "isolation: {require: []}\n",
    "isolation-twice": NATIVE + "isolation: {require: [memory, cpu, memory]}\n",
    "program-names": run("git", "./git", "/usr/bin/../bin/git", "~/git", "/usr/bin/"),
    "program-twice": run("/usr/bin/git", "/opt/tools/a", "/usr/bin/git", "/opt/tools"),
    "program-everything": run("/", "/usr", "/usr/bin", "/bin", "/opt", "/usr/lib"),
    "program-of-the-system": run("/proc/self/exe", "/sys/x", "/dev/shm/x", "/run/x", "/etc/x"),
    "program-that-anybody-puts": run("/tmp/x", "/var/tmp/x", "/home/agent/x"),
    "program-set-id": run("/usr/bin/sudo", "/usr/bin/mount", "/opt/tools/su"),
    "program-of-the-server": run("/srv/policies/run.sh", "/srv"),
    "program-in-a-mount": run("/data/bin/x", "/data") + GRANT.removeprefix("version"),
    "program-in-a-writable-source": run("/mnt/out/x", "/mnt")
    + "filesystem:\n  - {mount: /work, source: /mnt/out, access: read-write}\n",
    "program-in-a-source-with-deny": run("/mnt/in/x")
    + "filesystem:\n  - {mount: /data, source: /mnt/in, access: read, deny: [a]}\n",
    "process-gaps": NATIVE + "random: {seed: 1}\nclock: virtual\nnetwork:\n"
    "  - {host: a.example, http: [{methods: [GET]}]}\n"
    "  - {host: b.example, credentials: {header: X-Key, secret: s}}\n",
    "imports-keys": HEAD + "imports: {allow: [numpy, os path, 3, .x], deny: [os]}\n",
    "imports-list": HEAD + "imports: [numpy]\n",
    "imports-empty": HEAD + "imports: {allow: []}\n",
    "imports-nothing": HEAD + "imports:\n",
    "network-registry": connect(host='"*.co.uk"'),
    "name-of-cases": HEAD.replace("sample", "cases"),
    "deny-in-scratch": HEAD
    + "filesystem:\n  - {mount: /work, source: scratch, access: read-write, deny: [a]}\n",
    "network-mapping": HEAD + "network: {host: api.example.com}\n",
    "network-nothing": HEAD + "network:\n",
    "network-text": HEAD + "network: all\n",
    "network-list-of-texts": HEAD + "network: [api.example.com]\n",
    "network-without-host": HEAD + "network: [{ports: [443]}]\n",
    "network-unknown-keys": HEAD
    + "network:\n  - {host: a.example, prots: [1], http: [{method: [GET]}],\n"
    "     credentials: {heeder: X-Key, secret: s}}\n",
    "network-star": connect(host='"*"'),
    "network-star-com": connect(host='"*.com"'),
    "network-star-inside": connect(host="a.*.example"),
    "network-star-of-an-address": connect(host='"*.10.0.0.1"'),
    "network-not-a-label": connect(host="b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"),
    "network-url": connect(host="https://a.example/x"),
    "network-range": connect(host="10.0.0.0/8"),
    "network-host-with-port": connect(host="a.example:443"),
    "network-legacy-short": connect(host='"127.1"'),
    "network-legacy-number": connect(host="127.1"),
    "network-legacy-hexadecimal": connect(host='"0x7f000001"'),
    "network-legacy-decimal": connect(host='"2130706433"'),
    "network-legacy-octal": connect(host='"0177.0.0.1"'),
    "network-zone": connect(host='"fe80::1%lo"'),
    "network-brackets": connect(host='"[::1]"'),
    "network-host-nul": connect(host='"a.example\\0.b.example"'),
    "network-host-line-feed": connect(host='"a.example\\n"'),
    "network-ports": connect("ports: [0, 65536, '443', 1.5, true]"),
    "network-port": connect("ports: 443"),
    "network-no-ports": connect("ports: []"),
    "network-too-many-ports": connect(f"ports: {list(range(1, 18))}"),
    "network-scheme": connect("scheme: ftp"),
    "network-methods": connect("http: [{methods: [get, GETT, TRACE, CONNECT, PRI, 3]}]"),
    "network-paths": connect('http: [{paths: ["v1", "/a?b", "/a/../b", "/a**", "/a;b", "/%2f"]}]'),
    "network-no-rules": connect("http: []"),
    "network-rule-of-nothing": connect("http: [{methods: [], paths: []}]"),
    "network-max-bytes": connect("max_bytes: 0"),
    "network-max-bytes-too-large": connect("max_bytes: 1025Gi"),
    "network-credentials-nothing": connect("credentials: ~"),
    "network-credentials-text": connect("credentials: prices-api"),
    "network-credentials-values": connect(
        'credentials: {header: "X Key", secret: ../key, prefix: "a\\r\\nb"}'
    ),
    "network-credentials-prefix": connect('credentials: {header: X, secret: s, prefix: " x"}'),
    "network-addresses": connect("addresses: [public, reserved, privat, 3]"),
    "network-twice": connect(
        "ports: [1, 2, 1], addresses: [host, host], "
        "http: [{methods: [GET, GET], paths: [/a, /b, /a]}]"
    ),
    "network-raw-and-parsed": connect(
        "raw: true, scheme: https, http: [{}], credentials: {header: X, secret: s}"
    ),
    "network-raw-without-tls": connect("raw: true, ports: [5432]"),
    "network-raw-two-ports": connect("raw: true, ports: [443, 5432]"),
    "network-tls-not-raw": connect("tls: false"),
    "network-cleartext-credentials": connect("scheme: http, credentials: {header: X, secret: s}"),
    "network-credentials-for-many": connect(
        "credentials: {header: X, secret: s}", host='"*.example.com"'
    ),
    "network-private-address": connect(host="10.0.0.5"),
    "network-other-class": connect("addresses: [private]", host='"::1"'),
    "network-metadata": connect(host="169.254.169.254"),
    "network-reserved": connect("addresses: [private]", host="224.0.0.1"),
    "network-localhost": connect(host="db.localhost"),
    "network-same-host-and-port": HEAD
    + "network:\n  - {host: A.example, ports: [1, 2]}\n  - {host: a.example., ports: [3, 2]}\n",
    "network-too-many": HEAD
    + f"network: [{', '.join(f'{{host: h{n}.example}}' for n in range(65))}]\n",
    "network-same-host-thrice": HEAD + "network:\n" + "  - {host: a.example}\n" * 3,
    "connections": HEAD + "limits: {connections: 257}\n",
    "network-hosts": HEAD + "network: {hosts: ['*.com', 'http://x', '1.2.3.4/0']}\n",
    "network-true": HEAD + "network: true\n",
    "clock": HEAD + "clock: fake\n",
    "access": grant(access="rw"),
    # Sizes, times, counts (Y02)
    "size-gb": HEAD + "limits: {memory: 1GB}\n",
    "size-gib": HEAD + "limits: {memory: 1GiB}\n",
    "size-exponent": HEAD + "limits: {memory: 1e9}\n",
    "size-float": HEAD + "limits: {memory: 1.5Gi}\n",
    "size-negative": HEAD + "limits: {memory: -1}\n",
    "size-inf": HEAD + "limits: {memory: inf}\n",
    "size-dot-inf": HEAD + "limits: {memory: .inf}\n",
    "size-nan": HEAD + "limits: {memory: .nan}\n",
    "size-two-to-the-63": HEAD + "limits: {memory: 9223372036854775808}\n",
    "size-too-small": HEAD + "limits: {memory: 63Mi}\n",
    "size-too-large": HEAD + "limits: {memory: 5Gi}\n",
    "size-true": HEAD + "limits: {memory: true}\n",
    "size-other-digits": HEAD + "limits: {memory: ٦٤Mi}\n",
    "cpus-nothing": HEAD + "limits: {cpus: 0}\n",
    "cpus-too-many": HEAD + "limits: {cpus: 1024.01}\n",
    "cpus-too-fine": HEAD + "limits: {cpus: 1.125}\n",
    "cpus-infinite": HEAD + "limits: {cpus: .inf}\n",
    "cpus-text": HEAD + "limits: {cpus: two}\n",
    "cpus-true": HEAD + "limits: {cpus: true}\n",
    "cpus-below-one": HEAD + "limits: {cpus: 0.5}\n",
    "time-without-unit": HEAD + "limits: {cpu_time: 30}\n",
    "time-space": HEAD + "limits: {cpu_time: 30 s}\n",
    "time-days": HEAD + "limits: {idle_timeout: 1d}\n",
    "time-zero": HEAD + "limits: {wall_time: 0s}\n",
    "time-too-long": HEAD + "limits: {cpu_time: 61m}\n",
    "count-zero": HEAD + "limits: {cells: 0}\n",
    "count-text": HEAD + "limits: {cells: many}\n",
    "seed-negative": HEAD + "random: {seed: -1}\n",
    "seed-true": HEAD + "random: {seed: true}\n",
    # Globs and paths (Y07)
    "glob-absolute": grant(more=", deny: [/data/x]"),
    "glob-parent": grant(more=", deny: [../x]"),
    "glob-trailing-slash": grant(more=", deny: [private/]"),
    "glob-home": grant(more=', deny: ["~/x"]'),
    "glob-not": grant(more=', deny: ["!x"]'),
    "glob-variable": grant(more=", deny: [$HOME]"),
    "glob-class": grant(more=', deny: ["x[ab]"]'),
    "glob-double-star-inside": grant(more=', deny: ["**.key"]'),
    "glob-empty": grant(more=', deny: [""]'),
    "glob-nul": grant(more=', deny: ["a\\0b"]'),
    "glob-too-long": grant(more=", deny: ['" + "*a" * 5000 + "']"),
    "too-many-globs": grant(more=f", deny: [{', '.join(f'g{n}' for n in range(65))}]"),
    "mount-relative": grant(mount="data"),
    "mount-root": grant(mount="/"),
    "mount-lib": grant(mount="/lib/python3.14"),
    "mount-dev": grant(mount="/dev"),
    "mount-proc": grant(mount="/proc/self"),
    "mount-tmp": grant(mount="/tmp/x"),
    "mount-other-home": grant(mount="/home/other"),
    "mount-parent": grant(mount="/data/../lib"),
    "mount-dot": grant(mount="/data/./x"),
    "mount-double-slash": grant(mount="//data"),
    "mount-trailing-slash": grant(mount="/data/"),
    "mount-nul": grant(mount='"/data\\0x"'),
    "mount-empty": grant(mount='""'),
    "mount-fullwidth-dots": grant(mount="/data/\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/lib"),
    "mount-tilde": grant(mount='"~/data"'),
    "mount-variable": grant(mount="/data/$USER"),
    "source-bare": grant(source="data"),
    "source-scratch-typo": grant(source="scrach"),
    "source-parent": grant(source="./../x"),
    "source-dot": grant(source="."),
    "source-only-dot-slash": grant(source="./"),
    "source-nul": grant(source='"/srv/a\\0b"'),
    # Dangerous and meaningless grants (F30, Y20)
    "source-root": grant(source="/"),
    "source-etc": grant(source="/etc"),
    "source-in-etc": grant(source="/etc/ssl"),
    "source-proc": grant(source="/proc/self"),
    "source-run": grant(source="/run/docker.sock"),
    "source-var": grant(source="/var"),
    "source-home": grant(source="/home"),
    "source-a-home": grant(source="/home/alice"),
    "source-dot-files": grant(source="/home/alice/.ssh"),
    "source-root-home": grant(source="/root"),
    "source-usr-writable": grant(source="/usr/share/x", access="read-write"),
    "source-holds-policies": grant(source="/srv"),
    "source-in-audit": grant(source="/var/codecage/audit/today"),
    "source-through-parent": grant(source="./data/../data"),
    "mounted-twice": two(
        "mount: /data, source: ./a, access: read", "mount: /data, source: ./b, access: read"
    ),
    "mount-in-host-mount": two(
        "mount: /data/in, source: ./a, access: read", "mount: /data, source: ./b, access: read"
    ),
    "same-source-other-rights": two(
        "mount: /data, source: /mnt/a, access: read",
        "mount: /out, source: /mnt/a/b, access: read-write",
    ),
    "same-source-with-deny": two(
        "mount: /data, source: /mnt/a, access: read, deny: [x]",
        "mount: /out, source: /mnt/a, access: read",
    ),
    "quota-on-read": grant(more=", quota: 1Mi, max_files: 3"),
    "quota-above-scratch": grant(source="scratch", access="read-write", more=", quota: 65Mi"),
    "default-quota-above-scratch": HEAD
    + "limits: {scratch: 1Mi}\nfilesystem: [{mount: /x, source: scratch, access: read-write}]\n",
    "two-mistakes-in-one-entry": grant(source="/etc", access="rw"),
    "two-mistakes-in-a-scratch-entry": grant(mount="/tmp", source="scratch"),
    "scratch-read": grant(source="scratch"),
    # The environment
    "variable-lower-case": HEAD + "environment: {path: x}\n",
    "variable-home": HEAD + "environment: {HOME: /root}\n",
    "variable-python": HEAD + "environment: {PYTHONSTARTUP: /data/x.py}\n",
    "variable-ld": HEAD + "environment: {LD_PRELOAD: /data/x.so}\n",
    "variable-nul": HEAD + 'environment: {A: "a\\0b"}\n',
    "too-many-variables": HEAD + f"environment: {{{', '.join(f'V{n}: x' for n in range(65))}}}\n",
    # Several at once, and long lines
    "all-together": "version: 1\nname: Sample\nlimits: {memory: 1GB, cells: no}\n"
    "filesystem:\n  - {mount: /lib, source: /etc, access: rw}\n"
    "  - {mount: /data, source: /etc, access: read}\ncolour: red\nenvironment: {HOME: x}\n",
    "long-line": HEAD + f"limits: {{memory: 64Mi,{' ' * 300}memory: 64Mi}}\n",
    "wide-characters": HEAD + "environment: {A: 数字数字, B: 7}\n",
}
PROTECTED = ("/srv/policies", "/var/codecage/audit")


@pytest.mark.parametrize("case", CASES)
def test_every_mistake_is_shown_with_its_place(case, expected):
    with pytest.raises(PolicyError) as caught:
        parse(CASES[case], file="sample.yaml", base="/srv/tenants", protected=PROTECTED)
    expected(case, str(caught.value))


def test_the_policy_without_the_mistake_loads():
    policy = parse(HEAD + GRANT, file="sample.yaml", base="/srv/tenants", protected=PROTECTED)
    assert [(one.mount, one.source) for one in policy.filesystem] == [
        ("/data", "/srv/tenants/data")
    ]


def test_sources_may_overlap_where_both_are_plainly_read():
    text = two(
        "mount: /data, source: /mnt/a, access: read", "mount: /also, source: /mnt/a/b, access: read"
    )
    policy = parse(text, file="sample.yaml", base="/srv/tenants", protected=PROTECTED)
    assert [one.source for one in policy.filesystem] == ["/mnt/a", "/mnt/a/b"]


def test_problems_come_in_the_order_of_the_file():
    with pytest.raises(PolicyError) as caught:
        parse(CASES["all-together"], file="sample.yaml", base="/srv")
    places = [(problem.line, problem.column) for problem in caught.value.problems]
    assert places == sorted(places)
    assert len(places) == 9


def test_a_relative_source_in_a_protected_directory_is_refused():
    with pytest.raises(PolicyError, match="/srv/policies/data overlaps /srv/policies"):
        parse(HEAD + GRANT, file="sample.yaml", base="/srv/policies", protected=PROTECTED)


def test_a_flood_of_problems_is_cut_short():
    text = HEAD + "".join(f"k{number}: 1\n" for number in range(2000))
    with pytest.raises(PolicyError) as caught:
        parse(text, file="sample.yaml", base="/srv")
    assert len(caught.value.problems) == 200
    assert str(caught.value).endswith("... and 150 more")


def test_a_flood_of_aliases_is_cut_short_too():
    with pytest.raises(PolicyError) as caught:
        parse(HEAD + f"environment: [{'*a, ' * 2000}]\n", file="sample.yaml", base="/srv")
    assert len(caught.value.problems) == 201


def test_hidden_characters_cannot_flood_either():
    with pytest.raises(PolicyError) as caught:
        parse(HEAD + "#\u202e\n" * 2000, file="sample.yaml", base="/srv")
    assert len(caught.value.problems) == 200


def test_a_terminal_is_not_steered_by_the_line_shown():
    shown = str(Problem("f", 1, 7, "m", text="\x1b[31m\tx"))
    assert shown == "f:1:7: m\n     1 | �[31m\tx\n       |      \t^"


@pytest.mark.parametrize("paths", [{"base": "srv"}, {"base": "/srv", "protected": ("audit",)}])
def test_a_relative_base_is_the_callers_mistake(paths):
    with pytest.raises(ValueError, match="is not an absolute path") as caught:
        parse(HEAD, file="sample.yaml", **paths)
    assert not isinstance(caught.value, PolicyError)


@pytest.mark.parametrize("name", STEERING.split())
def test_a_field_that_steers_the_connection_is_no_credential(name):
    text = connect(f"credentials: {{header: {name}, secret: s}}")
    with pytest.raises(PolicyError, match=f"`{name}` steers the connection or the request"):
        parse(text, file="sample.yaml", base="/srv")


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Api-Key", "api_key", "apikey"])
def test_any_other_field_may_be_one(name):
    text = connect(f"credentials: {{header: {name}, secret: s}}")
    credential = parse(text, file="sample.yaml", base="/srv").network[0].credential
    assert credential is not None
    assert (credential.header, credential.secret, credential.prefix) == (name, "s", "")


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("10.0.0.5", "private"),
        ("100.64.0.1", "private"),
        ("127.0.0.1", "loopback"),
        ("localhost", "loopback"),
        ("169.254.169.254", "metadata"),
        ("169.254.1.1", "link-local"),
        ('"fd00::1"', "private"),
    ],
)
def test_an_address_that_is_not_public_loads_with_the_word_that_the_problem_names(host, word):
    with pytest.raises(PolicyError) as caught:
        parse(connect(host=host), file="sample.yaml", base="/srv")
    (problem,) = caught.value.problems
    assert problem.hint == f"add addresses: [{word}] if it is meant"
    assert parse(
        connect(f"addresses: [{word}]", host=host), file="sample.yaml", base="/srv"
    ).network
