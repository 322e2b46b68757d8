"""
What is wrong with network grants although each of their values is right. As in `lint.py`, each
finding is an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policy.addresses import KINDS, address_class
from policy.document import Path
from policy.hosts import is_address
from policy.lint import Finding
from policy.suffixes import is_registry
from policy.types import AddressClass, NetworkGrant
from policy.values import said


@dataclass(frozen=True, slots=True)
class PlacedNetwork:
    """
    A grant with the index of its entry in `network`, and the keys that its file gives.
    """

    index: int
    grant: NetworkGrant
    given: frozenset[str]

    def at(self, *keys: str | int) -> Path:
        """
        The path of something in the entry.
        """
        return ("network", self.index, *keys)


def network_findings(grants: Sequence[PlacedNetwork]) -> Iterator[Finding]:
    """
    What is wrong with grants, alone and together.
    """
    for placed in grants:
        if placed.grant.raw:
            yield from _raw_findings(placed)
        yield from _parsed_findings(placed)
        yield from _credential_findings(placed)
        yield from _address_findings(placed)
        yield from _registry_findings(placed)
    yield from _overlap_findings(grants)


def _raw_findings(placed: PlacedNetwork) -> Iterator[Finding]:
    """
    Nobody reads a raw stream, so nothing that has to be read or written in it can be promised.
    """
    for key in ("scheme", "http", "credentials"):
        if key in placed.given:
            message = "has no meaning with `raw: true`, a stream that nobody reads"
            hint = f"remove `{key}` or `raw`"
            yield Finding(placed.at(key), f"{_label(placed, key)}: {message}", hint, on_key=True)
    if "ports" not in placed.given:
        hint = "write them: ports: [5432]"
        yield Finding(placed.at(), "a raw grant has no default for the key `ports`", hint)
    elif "tls" not in placed.given and placed.grant.ports != (443,):
        yield Finding(
            placed.at("raw"),
            "it is not said whether the server's side speaks TLS",
            "write tls: true or tls: false beside it; for ports: [443] alone it is true",
        )


def _parsed_findings(placed: PlacedNetwork) -> Iterator[Finding]:
    if "tls" in placed.given and not placed.grant.raw:
        message = "has a meaning with `raw: true` alone"
        hint = "write scheme: https or scheme: http, or add raw: true"
        yield Finding(placed.at("tls"), f"{_label(placed, 'tls')}: {message}", hint, on_key=True)


def _label(placed: PlacedNetwork, key: str) -> str:
    """
    The name of a key: what points at the key itself is not told its value's name.
    """
    return f"{placed.grant.rule.name}.{key}"


def _credential_findings(placed: PlacedNetwork) -> Iterator[Finding]:
    grant = placed.grant
    if grant.credential is None or grant.raw:
        return
    if not grant.tls:
        yield Finding(
            placed.at("credentials"),
            "credentials never travel in cleartext",
            "use scheme: https, or remove them",
        )
    if grant.host.startswith("*."):
        yield Finding(
            placed.at("credentials"),
            f"credentials go to one host, and {grant.host} is any number of them",
            "name the host that they are for",
        )


def _address_findings(placed: PlacedNetwork) -> Iterator[Finding]:
    """
    A grant that would grant nothing, because it lacks the word for where its host lies.
    """
    grant = placed.grant
    found = class_of_host(grant.host)
    if found is AddressClass.RESERVED:
        message = f"{grant.host} is {KINDS[found]}"
        yield Finding(placed.at("host"), message, "nothing in a policy grants a reserved address")
    elif found is not AddressClass.PUBLIC and found not in grant.addresses:
        yield Finding(
            placed.at("host"),
            f"{grant.host} is {KINDS[found]}, which has to be said",
            f"add addresses: [{', '.join(_words(grant.addresses | {found}))}] if it is meant",
        )


def _registry_findings(placed: PlacedNetwork) -> Iterator[Finding]:
    """
    A wildcard over a whole registry is one over everybody.
    """
    host = placed.grant.host
    if host.startswith("*.") and is_registry(host[2:]):
        message = f"names below {host[2:]} are given out by a registry: {host} is anybody"
        yield Finding(placed.at("host"), message, "name the hosts or domains that are meant")


def _words(classes: frozenset[AddressClass]) -> list[str]:
    return [one.value for one in AddressClass if one in classes]


def class_of_host(host: str) -> AddressClass:
    """
    The class that a host has by its text: names have none, but for those of RFC 6761 6.3.
    """
    if is_address(host):
        return address_class(host)
    local = host == "localhost" or host.endswith(".localhost")
    return AddressClass.LOOPBACK if local else AddressClass.PUBLIC


def _overlap_findings(grants: Sequence[PlacedNetwork]) -> Iterator[Finding]:
    """
    Two grants for one host and port: which of them would speak for it?
    """
    speaking: dict[tuple[str, int], PlacedNetwork] = {}
    for placed in grants:
        host, ports = placed.grant.host, placed.grant.ports
        taken = next((port for port in ports if (host, port) in speaking), None)
        if taken is not None:
            first = speaking[host, taken].grant.rule.name
            yield Finding(
                placed.at("host"),
                f"{host}:{taken} is granted already by {first}",
                "say in one grant what is allowed there",
            )
        for port in ports:
            speaking.setdefault((host, port), placed)


def repeated_findings(entries: object) -> Iterator[Finding]:
    """
    Entries of the lists of grants that stand there twice: which of the two was meant to be
    something else? `entries` are the grants as they stand in the file.
    """
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict):
            continue
        for key in ("ports", "addresses"):
            yield from _repeated(("network", index, key), entry.get(key))
        rules = entry.get("http")
        for number, rule in enumerate(rules if isinstance(rules, list) else []):
            for key in ("methods", "paths"):
                values = rule.get(key) if isinstance(rule, dict) else None
                yield from _repeated(("network", index, "http", number, key), values)


def _repeated(path: Path, values: object) -> Iterator[Finding]:
    seen: dict[object, int] = {}
    for index, value in enumerate(values if isinstance(values, list) else []):
        if type(value) not in {str, int}:
            continue
        if value in seen:
            message = f"{said(value)} stands here twice; the first is [{seen[value]}]"
            yield Finding((*path, index), message, "remove one of them")
        seen.setdefault(value, index)
