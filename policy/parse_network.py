"""
The network grants of a policy file.
"""

from pydantic import ValidationError

from policy.document import Document
from policy.http_paths import normal_path
from policy.lint_network import PlacedNetwork
from policy.places import rule_at
from policy.schema_network import HttpSection, NetworkSection
from policy.types import AddressClass, Credential, HttpRule, NetworkGrant


def placed_network(document: Document, entries: object) -> list[PlacedNetwork]:
    """
    The grants whose own values are right, also where something else in the file is wrong.
    """
    placed: list[PlacedNetwork] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            section = NetworkSection.model_validate(entry)
        except ValidationError:
            continue
        grant = _grant(document, index, section)
        placed.append(PlacedNetwork(index, grant, frozenset(section.model_fields_set)))
    return placed


def _grant(document: Document, index: int, section: NetworkSection) -> NetworkGrant:
    rules = (_http_rule(document, index, *rule) for rule in enumerate(section.http))
    return NetworkGrant(
        host=section.host,
        ports=_ports(section),
        tls=_tls(section),
        raw=section.raw,
        http=tuple(rules),
        max_bytes=section.max_bytes,
        credential=_credential(section),
        addresses=frozenset(map(AddressClass, section.addresses)),
        rule=rule_at(document, ("network", index)),
    )


def _ports(section: NetworkSection) -> tuple[int, ...]:
    """
    The ports in order; those of the scheme where none are given. A raw grant has no default.
    """
    if section.ports or section.raw:
        return tuple(sorted(section.ports))
    return _PORTS[section.scheme]


_PORTS = {"https": (443,), "http": (80,)}


def _tls(section: NetworkSection) -> bool:
    return section.tls if section.raw else section.scheme == "https"


def _http_rule(document: Document, index: int, number: int, section: HttpSection) -> HttpRule:
    return HttpRule(
        methods=tuple(section.methods),
        paths=tuple(map(normal_path, section.paths)),
        rule=rule_at(document, ("network", index, "http", number)),
    )


def _credential(section: NetworkSection) -> Credential | None:
    given = section.credentials
    return Credential(given.header, given.secret, given.prefix) if given else None
