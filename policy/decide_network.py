"""
What a policy answers about connections, names, addresses and HTTP requests.

The most specific host speaks for a name: the exact one before a wildcard, the longer wildcard
before the shorter. Where it does not grant a port, a wildcard that would is not asked, as a mount
is not asked about what lies below a longer one. So the order of grants never matters.

A name is compared in its one form (`hosts.py`) and a path in its own (`http_paths.py`); what has
none is denied before anything is compared. Tables are made once: at decision time there are
dictionaries, cut globs and the answers that allow; no regular expression.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from policy.addresses import KINDS, address_class
from policy.errors import shown
from policy.hosts import canonical_host, is_address
from policy.http_paths import METHODS, normal_path, path_problem, query_problem
from policy.offers import network_offer, offered_place
from policy.path_table import PathTable, path_table
from policy.requests import (
    AddressRequest,
    HttpRequest,
    NetworkRequest,
    ResolveRequest,
    SocketRequest,
)
from policy.types import AddressClass, Decision, HttpRule, NetworkGrant, Policy, Rule

AnyNetworkRequest = NetworkRequest | ResolveRequest | AddressRequest | HttpRequest | SocketRequest


def network_table(policy: Policy) -> "NetworkTable":
    """
    The tables of a policy's network grants.
    """
    places = {rule.name: rule for rule in policy.rules}
    grants: dict[str, dict[int, _Compiled]] = {}
    for grant in policy.network:
        compiled = _compiled_grant(grant, places)
        for port in grant.ports:
            grants.setdefault(grant.host, {})[port] = compiled
    # A host that is not in its one form could only be meant by a request that is not either.
    exact = {host: ports for host, ports in grants.items() if canonical_host(host) == host}
    below = {host[2:]: ports for host, ports in grants.items() if host.startswith("*.")}
    return NetworkTable(policy, exact, below)


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    """
    A rule of HTTP requests: its paths, and the answer that allows, for each of its methods.
    """

    paths: PathTable
    allowed: dict[str, Decision]


def _compiled_rule(grant: NetworkGrant, rule: HttpRule) -> _CompiledRule:
    return _CompiledRule(path_table(rule.paths), _requests(grant, rule.methods, rule.rule))


def _requests(grant: NetworkGrant, methods: Iterable[str], rule: Rule) -> dict[str, Decision]:
    return {one: _granted(f"{one} of {offered_place(grant)}", grant, rule) for one in methods}


@dataclass(frozen=True, slots=True)
class _Compiled:
    """
    A grant, what its keys are called (`http` and `addresses` are rules of their own), and the
    answers that allow: `requested` where no rule says which requests.
    """

    grant: NetworkGrant
    rules: tuple[_CompiledRule, ...]
    http: Rule
    addresses: Rule
    connected: Decision
    resolved: Decision
    requested: dict[str, Decision]


def _compiled_grant(grant: NetworkGrant, places: dict[str, Rule]) -> _Compiled:
    return _Compiled(
        grant,
        rules=tuple(_compiled_rule(grant, rule) for rule in grant.http),
        http=_part(grant, "http", places),
        addresses=_part(grant, "addresses", places),
        connected=_granted(f"connect {offered_place(grant)}", grant),
        resolved=_granted(f"resolve {grant.host}", grant),
        requested=_requests(grant, METHODS, grant.rule),
    )


def _part(grant: NetworkGrant, key: str, places: dict[str, Rule]) -> Rule:
    """
    The rule of one of a grant's keys; its place is the grant's where the key stands in no line.
    """
    name = f"{grant.rule.name}.{key}"
    return places.get(name, replace(grant.rule, name=name))


@dataclass(frozen=True, slots=True)
class NetworkTable:
    """
    A policy's grants by host and port. Only `network_table` makes one.
    """

    policy: Policy
    _exact: dict[str, dict[int, _Compiled]]
    _below: dict[str, dict[int, _Compiled]]

    def decide(self, request: AnyNetworkRequest) -> Decision:
        """
        The answer to one request. Total: a host, path or address that has no one form is denied.
        """
        if isinstance(request, SocketRequest):
            return self._socket(request)
        host = request.host
        ports = self._exact.get(host)
        if ports is None:
            name = canonical_host(host)
            if name is None:
                return self._denied(request, "that is no name or address of a host", _NEVER)
            host, ports = name, self._ports_of(name)
        if ports is None:
            return self._unknown_host(request, host)
        if isinstance(request, ResolveRequest):
            return ports[min(ports)].resolved
        compiled = ports.get(request.port)
        if compiled is None:
            return self._other_port(request, ports)
        if isinstance(request, NetworkRequest):
            return compiled.connected
        if isinstance(request, AddressRequest):
            return self._address(request, host, compiled)
        return self._http(request, compiled)

    def _ports_of(self, host: str) -> dict[int, _Compiled] | None:
        """
        The grants of the most specific host that covers `host`, by port.
        """
        if (found := self._exact.get(host)) is not None or is_address(host):
            return found
        below, dot = self._below, host.find(".")
        while below and dot >= 0:
            if (found := below.get(host[dot + 1 :])) is not None:
                return found
            dot = host.find(".", dot + 1)
        return None

    def _unknown_host(self, request: AnyNetworkRequest, host: str) -> Decision:
        why = "this policy grants no such host" if self.policy.network else _NO_NETWORK
        return self._denied(request, why, f"a grant in `network` for {host} would allow it")

    def _other_port(
        self, request: NetworkRequest | AddressRequest | HttpRequest, ports: dict[int, _Compiled]
    ) -> Decision:
        grant = ports[min(ports)].grant
        return self._denied(
            request,
            f"port {request.port} of this host is not granted",
            f"{request.port} in the `ports` of {grant.rule.name} would allow it",
            grant,
            grant.rule,
        )

    def _address(self, request: AddressRequest, host: str, compiled: _Compiled) -> Decision:
        grant, rule = compiled.grant, compiled.addresses
        address = canonical_host(request.address)
        if address is None or not is_address(address):
            why = f"{shown(request.address, 60)!r} is no address"
            return self._denied(request, why, _NEVER, grant, rule)
        if is_address(host) and address != host:
            why = f"{host} is an address and leads to no other"
            return self._denied(request, why, _NEVER, grant, rule)
        found = address_class(address, own=request.own)
        if found is AddressClass.PUBLIC or found in grant.addresses & _GRANTABLE:
            return _granted(_asked(request), grant, rule)
        why = f"{host} has the address {address}, which is {KINDS[found]}"
        return self._denied(request, why, _address_remedy(grant, found), grant, rule)

    def _http(self, request: HttpRequest, compiled: _Compiled) -> Decision:
        grant = compiled.grant
        if problem := _http_problem(request, grant):
            remedy = _scheme_remedy(request, grant)
            return self._denied(request, problem, remedy, grant, compiled.http)
        if not compiled.rules:
            return compiled.requested[request.method]
        path = normal_path(request.path)
        for one in compiled.rules:
            decision = one.allowed.get(request.method)
            if decision is not None and one.paths.holds(path):
                return decision
        return self._no_rule(request, compiled, path)

    def _no_rule(self, request: HttpRequest, compiled: _Compiled, path: str) -> Decision:
        grant = compiled.grant
        if any(one.paths.holds(path) for one in compiled.rules):
            why = f"the method {request.method} is not granted for this path"
        elif any(request.method in one.allowed for one in compiled.rules):
            why = f"the path is not granted for {request.method}"
        else:
            why = f"the method {request.method} is granted for no path of this host"
        remedy = f"a rule in {compiled.http.name} with the method and the path would allow it"
        return self._denied(request, why, remedy, grant, compiled.http)

    def _socket(self, request: SocketRequest) -> Decision:
        why = _SOCKETS.get(request.kind, _ONLY_CONNECTIONS)
        if not self.policy.network:
            why = _NO_NETWORK
        return self._denied(request, why, _NEVER)

    def _denied(
        self,
        request: AnyNetworkRequest,
        why: str,
        remedy: str,
        grant: NetworkGrant | None = None,
        rule: Rule | None = None,
    ) -> Decision:
        return Decision(
            False,
            rule or self.policy.rule("network"),
            f"{_asked(request)} is not granted: {why}{network_offer(self.policy)}",
            remedy=remedy,
            network=grant,
        )


_NO_NETWORK = "this policy grants no network"
_NEVER = "nothing in a policy allows it"
_ONLY_CONNECTIONS = "only TCP connections to granted hosts can be opened"
_SOCKETS = {
    "udp": "there are no datagrams: names are resolved without them, for the rest use TCP",
    "unix": "there are no sockets of the machine: socket.socketpair() connects within the guest",
    "raw": f"there are no raw sockets: {_ONLY_CONNECTIONS}",
    "listen": "nothing may listen or accept: connect to a granted host instead",
}
_GRANTABLE = frozenset(AddressClass) - {AddressClass.RESERVED}


def _granted(what: str, grant: NetworkGrant, rule: Rule | None = None) -> Decision:
    return Decision(True, rule or grant.rule, f"{what} is granted", network=grant)


def _asked(request: AnyNetworkRequest) -> str:
    """
    The request without its query, whose digest in a record tells nobody else anything.
    """
    return shown(str(replace(request, query=None) if isinstance(request, HttpRequest) else request))


def _address_remedy(grant: NetworkGrant, found: AddressClass) -> str:
    if found is AddressClass.RESERVED:
        return "nothing in a policy allows a reserved address"
    return f"`{found.value}` in the `addresses` of {grant.rule.name} would allow it"


def _scheme_remedy(request: HttpRequest, grant: NetworkGrant) -> str:
    if grant.raw or request.tls == grant.tls:
        return _NEVER
    if grant.tls:
        return "ask for it with https: what a guest sends here leaves over TLS in any case"
    return f"`scheme: https` in {grant.rule.name} would grant it over TLS"


def _http_problem(request: HttpRequest, grant: NetworkGrant) -> str | None:
    """
    Why a request is refused before any rule is asked.
    """
    if grant.raw:
        return "the grant is of a raw stream, whose requests nobody reads"
    if request.tls != grant.tls:
        return f"the grant is of {'https' if grant.tls else 'http'}"
    if request.method not in METHODS:
        return f"{shown(request.method, 40)!r} is no method that can be granted"
    if problem := path_problem(request.path):
        return f"the path {problem}"
    if request.query is not None and (problem := query_problem(request.query)):
        return f"the query {problem}"
    return None
