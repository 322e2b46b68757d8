"""
The policy that needs no file of an administrator, as a value: what reads policy files is a tenth
of a second of a server's start, and a server that is given none need not import it.

The file of the same name in `examples/` says the same; a test reads it and compares.
"""

from typing import Final

from policy.types import Access, FileGrant, Policy, Rule

_FILE: Final = "calculator.yaml"
_DESCRIPTION: Final = "Computes, and keeps files in memory for as long as the session lives."
_SCRATCH: Final = (
    "{mount: /work, source: scratch, access: read-write, quota: 64Mi, max_files: 1000}"
)


def _rule(name: str, line: int, text: str, column: int = 1) -> Rule:
    return Rule(name, _FILE, line, column, text)


CALCULATOR: Final = Policy(
    name="calculator",
    description=_DESCRIPTION,
    file=_FILE,
    images=("core", "math", "web", "data"),
    filesystem=(
        FileGrant(
            mount="/work",
            source=None,
            access=Access.READ_WRITE,
            deny=(),
            quota=64 * 2**20,
            max_files=1000,
            rule=_rule("filesystem[0]", 12, f"  - {_SCRATCH}", 5),
        ),
    ),
    digest="5d781015b353049668f98e80851492bf13a13c71bd75bf77853eef6cc366b2e0",
    rules=(
        _rule("version", 3, "version: 1"),
        _rule("name", 4, "name: calculator"),
        _rule("description", 5, f"description: {_DESCRIPTION}"),
        _rule("image", 8, "image: [core, math, web, data]"),
        _rule("filesystem", 10, "filesystem:"),
        _rule("network", 14, "network: none"),
    ),
)
"""Computing and scratch memory, nothing else: what a session gets that asks for no policy."""
