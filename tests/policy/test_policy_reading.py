"""
What a file says by itself, what it inherits, and which mistakes are told beside others.
"""

import pytest

from policy.document import read_document
from policy.errors import PolicyError
from policy.offers import network_offer
from policy.parse import parse
from policy.reading import ground, read_policy
from policy.schema import MAX_REASON

BASE = """version: 1
name: base
description: x
limits: {cells: 4, requests: 3}
clock: frozen
network: none
"""
OWN = """version: 1
name: own
limits: {cells: 5}
filesystem:
  - {mount: /d, source: ./x, access: read}
deny:
  - path: /d/a
network:
  - host: a.example
"""


def read(text, file, inherited=None):
    return read_policy(read_document(text, file), ground("/srv", (), str), inherited)


def test_the_places_of_keys_are_the_files_own_and_those_that_it_inherits():
    base = read(BASE, "base.yaml")
    own = [(one.name, one.file) for one in read(OWN, "own.yaml", base).rules]
    assert own == [
        *((name, "own.yaml") for name in ("version", "name", "limits", "limits.cells")),
        *((name, "own.yaml") for name in ("filesystem", "deny", "network", "network[0].host")),
        ("limits.requests", "base.yaml"),
        ("clock", "base.yaml"),
    ]
    assert [one.name for one in base.rules] == [
        *("version", "name", "description", "limits", "limits.cells", "limits.requests"),
        *("clock", "network"),
    ]


def told(text):
    with pytest.raises(PolicyError) as caught:
        parse(f"version: 1\nname: a\n{text}", file="a.yaml", base="/srv")
    return [one.message for one in caught.value.problems]


HIDES_NOTHING = "deny:\n  - path: /elsewhere/a\n"
GRANT = "  - {mount: /d, source: ./x, access: read}\n"


@pytest.mark.parametrize(
    ("files", "is_told"),
    [
        ("", True),
        (f"filesystem:\n{GRANT}", True),
        ("filesystem: 5\n", True),
        (f"filesystem:\n{GRANT}  - {{mount: /e, source: ./y, access: none}}\n", False),
    ],
)
def test_an_entry_of_deny_is_judged_where_all_grants_are_known(files, is_told):
    found = [one for one in told(files + HIDES_NOTHING) if "hides nothing" in one]
    assert bool(found) is is_told


def test_an_entry_of_deny_that_hides_something_is_no_mistake():
    hides = "deny:\n  - path: /d/a\n"
    one = parse(f"version: 1\nname: a\nfilesystem:\n{GRANT}{hides}", file="a", base="/srv")
    assert [entry.path for entry in one.deny] == ["/d/a"]


@pytest.mark.parametrize(
    ("entry", "is_told"),
    [
        ("mount: /d, source: /etc, access: read, typo: 1", True),
        ("mount: /d, source: /usr/x, access: read, typo: 1", False),
        ("mount: /d, source: /usr/x, access: read-write, typo: 1", True),
        ("mount: /d, source: /srv/x, access: read-write, typo: 1", False),
    ],
)
def test_a_dangerous_source_is_told_beside_another_mistake(entry, is_told):
    found = told(f"filesystem:\n  - {{{entry}}}\n")
    assert any("typo" in one for one in found)
    assert (len(found) == 2) is is_told


def test_audit_mode_needs_a_ceiling():
    assert any("this file names none" in one for one in told("mode: audit\n"))
    with pytest.raises(PolicyError) as caught:
        parse("version: 1\nname: a\nmode: audit\nwithin: [top]\n", file="a.yaml", base="/srv")
    assert not any("names none" in one.message for one in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("description: TEXT\n", 1000),
        ("environment: {A: TEXT}\n", 4096),
        (f"filesystem:\n{GRANT}deny:\n  - {{path: /d/a, reason: TEXT}}\n", MAX_REASON),
        (
            "network:\n  - host: a.example\n    http: [{methods: [GET], paths: [/**]}]\n"
            "    credentials: {header: X-Key, secret: key, prefix: TEXT}\n",
            64,
        ),
    ],
)
def test_a_text_has_its_longest_and_no_longer(text, most):
    head = "version: 1\nname: a\n"
    parse(head + text.replace("TEXT", "x" * most), file="a", base="/srv")
    assert len(told(text.replace("TEXT", "x" * (most + 1)))) == 1


def test_no_more_are_offered_than_there_are(policy):
    def offer(count):
        hosts = "".join(f"  - host: h{index}.example\n" for index in range(count))
        return network_offer(policy(f"disclose: true\nnetwork:\n{hosts}"))

    assert [offer(count).rpartition(" and ")[2] for count in (9, 10)] == ["1 more", "2 more"]
    assert " more" not in offer(8)
    assert offer(8).count("example") == 8
