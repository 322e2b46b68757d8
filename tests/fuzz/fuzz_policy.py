"""
Feeds the reader of policies with broken files, and checks what comes out of it.

    python tests/fuzz/fuzz_policy.py --seconds 60 [--seed N]

Whatever goes in: a policy or a PolicyError comes out, soon; every problem lies within the file and
prints without control characters; and a policy is in its bounds, answers, is shown and compared,
and means the same when it is read again.
"""

import argparse
import random
import sys
import time
from dataclasses import fields
from pathlib import Path

import policy as package
from policy.compare import Comparison, compare
from policy.decide import compile_policy
from policy.effective import effective
from policy.errors import PolicyError
from policy.explain import explain
from policy.narrow import narrow
from policy.parse import parse
from policy.paths import dangerous_source
from policy.requests import (
    FileAction,
    FileRequest,
    HttpRequest,
    NetworkRequest,
    tool_request,
)

SEEDS = tuple(
    path.read_text() for path in sorted((Path(package.__file__).parent / "examples").glob("*.yaml"))
)
SPICE = (
    *("\t", "\r", "\n", " ", ":", ": ", "- ", "#", "&a ", "*a", "!!python/object ", "<<: ", "? "),
    *("{", "}", "[", "]", '"', "'", "|", ">", "%YAML 1.1\n", "---\n", "...\n", "\0", "\ufeff"),
    *("no", "yes", "0o17", "1e9", "-1", ".inf", ".nan", "1_000", "12:30:45", "2001-01-01", "~"),
    *("\u202e", "\u2028", "\ud800", "\U000e0041", "\u0665", "\uff0e\uff0e", "\\U0011ffff"),
    *("/etc", "../..", "/", "/proc/self", "scratch", "~/x", "$HOME", "**", "*", "[a-z]", "\\"),
    *("*.com", "169.254.169.254", "0x7f.1", "[::1]", "a" * 300, "%2e%2e", "//", ";", "CONNECT"),
    *("1024Gi", "999999999999Gi", "9" * 400, "[" * 50, "{a: " * 30, "deny: [{path: /a}]\n"),
    *("tools: [{name: f, arguments: {x: {max: 1}}}]\n", "approval: required", "max_calls: 0"),
    *('after: [{event: "read /data/**", revoke: [network]}]\n', "mode: audit\n", "tools.f"),
    *("within: [fuzz]\n", "defaults: fuzz\n", "raw: true", "tls: false", "filesystem: []\n"),
)
REQUESTS = (
    FileRequest(FileAction.WRITE, "/work/x"),
    FileRequest(FileAction.READ, "/data/private/x"),
    NetworkRequest("api.example.com", 443),
    HttpRequest("api.example.com", 443, tls=True, method="GET", path="/v1/prices/a"),
    tool_request("search_orders", {"limit": 7}),
)
SLOW = 5.0
"""Seconds that one file may take at most, many times what any takes."""


class Wrong(AssertionError):
    """
    What came out breaks a promise; the message says which.
    """


def mutated(chance):
    text = chance.choice(SEEDS)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        at, act = chance.randrange(len(text) + 1), chance.randrange(6)
        if act == 0:
            text = text[:at] + chance.choice(SPICE) + text[at:]
        elif act == 1:
            text = text[:at] + text[at + chance.choice((1, 2, 20)) :]
        elif act == 2:
            lines = text.splitlines(keepends=True)
            chance.shuffle(lines)
            text = "".join(lines[: chance.randrange(1, len(lines) + 1)]) if lines else text
        elif act == 3:
            text = text.replace(chance.choice(_words(text)), chance.choice(_words(text)), 1)
        elif act == 4:
            text = text.replace(chance.choice(_words(text)), chance.choice(SPICE), 1)
        else:
            other = chance.choice(SEEDS)
            text = text[:at] + other[chance.randrange(len(other)) :]
    return text


def _words(text):
    return text.split() or ["x"]


def one(chance):
    """
    One broken file. Raises Wrong; returns whether it was a policy all the same.
    """
    # Time of the processor: a busy machine makes nothing slow that is not.
    text, start = mutated(chance), time.thread_time()
    try:
        policy = parse(text, file="fuzz.yaml", base="/srv/fuzz", protected=("/srv/audit",))
    except PolicyError as error:
        check_problems(error, text)
        return False
    finally:
        if time.thread_time() - start > SLOW:
            raise Wrong(f"{len(text)} characters took more than {SLOW} s")
    check_policy(policy, text)
    return True


def check_problems(error, text):
    if not error.problems:
        raise Wrong("an error without a problem")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in error.problems:
        if not (0 <= problem.line <= len(lines) and 0 <= problem.column <= 10**6):
            raise Wrong(f"a problem outside of the file: {problem.line}:{problem.column}")
        if not problem.message:
            raise Wrong("a problem without a message")
    if not all(char.isprintable() or char in "\n\t" for char in str(error)):
        raise Wrong("a message that a terminal would obey")


def check_policy(policy, text):
    for grant in policy.filesystem:
        writable = grant.access.value == "read-write"
        if grant.source is not None and dangerous_source(
            grant.source, ("/srv/audit",), writable=writable
        ):
            raise Wrong(f"{grant.source} is granted")
    if any(grant.host in {"*", "*.com", "*.org"} for grant in policy.network):
        raise Wrong("everybody's host is granted")
    if any(grant.credential and not grant.tls for grant in policy.network):
        raise Wrong("credentials in cleartext")
    if not all(0 <= getattr(policy.limits, one.name) < 2**43 for one in fields(policy.limits)):
        raise Wrong(f"a limit out of bounds: {policy.limits}")
    again = parse(text, file="again.yaml", base="/srv/fuzz", protected=("/srv/audit",))
    if again.digest != policy.digest or compare(policy, again) != Comparison((), ()):
        raise Wrong("the same text means something else")
    if narrow(policy, policy).digest != policy.digest:
        raise Wrong("a policy within itself is another")
    decider = compile_policy(policy)
    for request in REQUESTS:
        if not decider.decide(request).reason or not explain(policy, request):
            raise Wrong("an answer without a reason")
    if not effective(policy).startswith(f"policy {policy.name}"):
        raise Wrong("a policy that cannot be shown")


def run(seed, *, seconds=None, count=None):
    """
    Broken files one after another; returns how many there were, and how many were policies.
    """
    end = None if seconds is None else time.monotonic() + seconds
    ran = policies = 0
    while (count is None or ran < count) and (end is None or time.monotonic() < end):
        number = seed + ran
        try:
            policies += one(random.Random(number))
        except BaseException:
            print(f"seed {number} (once more: --seed {number} --count 1)", file=sys.stderr)
            raise
        ran += 1
    return ran, policies


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.seconds is None and asked.count is None:
        asked.seconds = 60.0
    ran, policies = run(asked.seed, seconds=asked.seconds, count=asked.count)
    print(f"{ran} files, {policies} of them policies")


if __name__ == "__main__":
    main()
