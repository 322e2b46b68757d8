"""
What one answer of a policy costs, and what it costs under 1 to 10,000 rules.

Floor: one look into a dictionary by the same text, in turn with the answer. Requests are made
before: decoding one is the gate's work. Run it alone for the slope as a table.
"""

import statistics
import time

from measure import Row

from policy.decide import compile_policy
from policy.parse import parse
from policy.requests import FileAction, FileRequest, HttpRequest, NetworkRequest
from policy.types import Access, Deny, FileGrant, HttpRule, NetworkGrant, Policy, Rule

ROUNDS, CALLS = 101, 500
COUNTS = (1, 10, 100, 1000, 10_000)
TEXT = """version: 1
name: bench
filesystem:
  - {mount: /data, source: /srv/data, access: read}
  - {mount: /src, source: /srv/src, access: read, deny: ["**/*.key", ".git/**", "**/secret*"]}
  - {mount: /work/out, source: /srv/out, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
deny: [{path: "/src/private/**"}]
network:
  - {host: api.example.com, http: [{methods: [GET], paths: ["/v1/prices/**", "/v2/*/rates"]}]}
  - {host: "*.example.org"}
"""
PATH = "/sales/2026/q1.csv"
ASKED = {
    "path, no glob": (FileRequest(FileAction.READ, f"/data{PATH}"), 1.0),
    "path, five globs": (FileRequest(FileAction.READ, f"/src{PATH}"), 2.0),
    "write below a host mount": (FileRequest(FileAction.WRITE, f"/work/out{PATH}"), 2.0),
    "connection to a host": (NetworkRequest("api.example.com", 443), 1.0),
    "connection below a wildcard": (NetworkRequest("files.example.org", 443), 2.0),
    "HTTP request": (HttpRequest("api.example.com", 443, True, "GET", "/v1/prices/eur"), 2.0),
}


def both_us(decide, request):
    """The medians of an answer and of its floor, in microseconds, measured in turn."""
    key = getattr(request, "path", "") or request.host
    look = {key: 1}.get
    pairs = [(once(decide, request), once(look, key)) for _ in range(ROUNDS)]
    return tuple(statistics.median(pair[one] for pair in pairs) for one in (0, 1))


def once(act, argument):
    """Time of this process alone: an answer waits for nothing, and others may use the machine."""
    started = time.process_time()
    for _ in range(CALLS):
        act(argument)
    return (time.process_time() - started) / CALLS * 1e6


def rows():
    decide = compile_policy(parse(TEXT, file="bench.yaml", base="/")).decide
    for name, (request, aim) in ASKED.items():
        assert decide(request).allowed, name
        value, floor = both_us(decide, request)
        yield Row(f"decision: {name}", value, aim, "us", floor, "dict look-up")


def files(count):
    """As many mounts, each with a glob and an entry of `deny`; the last one is asked."""
    grants = tuple(
        FileGrant(f"/m{n}", f"/srv/{n}", Access.READ, (f"**/*.k{n}",), 0, 0, rule(n))
        for n in range(count)
    )
    # Entries are compiled for each mount: a hundred are enough to show that answers do not care.
    deny = tuple(Deny(f"/m{n}/private", "", rule(n)) for n in range(min(count, 100)))
    policy = Policy("bench", "", "bench.yaml", filesystem=grants, deny=deny)
    return policy, FileRequest(FileAction.READ, f"/m{count - 1}{PATH}")


def globs(count):
    """One mount with as many globs."""
    names = tuple(f"**/*.k{n}" if n % 2 else f"**/name{n}" for n in range(count))
    grant = FileGrant("/data", "/srv", Access.READ, names, 0, 0, rule(0))
    policy = Policy("bench", "", "bench.yaml", filesystem=(grant,))
    return policy, FileRequest(FileAction.READ, f"/data{PATH}")


def hosts(count):
    grants = tuple(
        NetworkGrant(f"h{n}.example", (443,), True, False, (), 1, None, frozenset(), rule(n))
        for n in range(count)
    )
    policy = Policy("bench", "", "bench.yaml", network=grants)
    return policy, NetworkRequest(f"h{count - 1}.example", 443)


def paths(count):
    """One host with as many paths of HTTP requests."""
    http = HttpRule(("GET",), tuple(f"/v1/p{n}/**" for n in range(count)), rule(0))
    grant = NetworkGrant("api.example", (443,), True, False, (http,), 1, None, frozenset(), rule(0))
    policy = Policy("bench", "", "bench.yaml", network=(grant,))
    return policy, HttpRequest("api.example", 443, True, "GET", f"/v1/p{count - 1}/x")


def rule(number):
    return Rule(f"rule[{number}]", "bench.yaml")


def slope():
    print("| rules | mounts | globs | hosts | HTTP paths |\n| ---: | ---: | ---: | ---: | ---: |")
    for count in COUNTS:
        cells = []
        for made in (files, globs, hosts, paths):
            policy, request = made(count)
            decide = compile_policy(policy).decide
            assert decide(request).allowed, (made.__name__, count)
            value, floor = both_us(decide, request)
            cells.append(f"{value:.2f} us ({value / floor:.0f}x)")
        print(f"| {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    for row in rows():
        print(f"{row.what:<38} {row.value:6.2f} us   aim {row.aim:g}   {row.ratio:5.1f} x floor")
    slope()
