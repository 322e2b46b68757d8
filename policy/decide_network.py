"""
What a policy answers about connections, names, addresses and HTTP requests.

The most specific host speaks for a name: the exact one before a wildcard, the longer wildcard
before the shorter. Where it does not grant a port, a wildcard that would is not asked, as a mount
is not asked about what lies below a longer one. So the order of grants never matters.

A name is compared in its one form (`hosts.py`) and a path in its own (`http_paths.py`); what has
none is denied before anything is compared. Tables are made once: at decision time there are
dictionaries and cut globs, no regular expression.
"""

from dataclasses import dataclass, replace

from policy.addresses import KINDS, address_class
from policy.errors import shown
from policy.hosts import canonical_host, is_address
from policy.http_paths import METHODS, normal_path, path_problem, query_problem
from policy.offers import network_offer
from policy.path_globs import PathGlob, compile_glob
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
    return NetworkTable(policy, grants)


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    rule: Rule
    methods: frozenset[str]
    globs: tuple[PathGlob, ...]

    def allows_path(self, path: str) -> bool:
        return any(glob.matches(path) for glob in self.globs)


def _compiled_rule(rule: HttpRule) -> _CompiledRule:
    return _CompiledRule(rule.rule, frozenset(rule.methods), tuple(map(compile_glob, rule.paths)))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """
    A grant, and what its keys are called: `http` and `addresses` are rules of their own.
    """

    grant: NetworkGrant
    rules: tuple[_CompiledRule, ...]
    http: Rule
    addresses: Rule


def _compiled_grant(grant: NetworkGrant, places: dict[str, Rule]) -> _Compiled:
    rules = tuple(map(_compiled_rule, grant.http))
    return _Compiled(grant, rules, _part(grant, "http", places), _part(grant, "addresses", places))


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
    _grants: dict[str, dict[int, _Compiled]]

    def decide(self, request: AnyNetworkRequest) -> Decision:
        """
        The answer to one request. Total: a host, path or address that has no one form is denied.
        """
        if isinstance(request, SocketRequest):
            return self._socket(request)
        host = canonical_host(request.host)
        if host is None:
            return self._denied(request, "that is no name or address of a host", _NEVER)
        ports = self._ports_of(host)
        if ports is None:
            return self._unknown_host(request, host)
        if isinstance(request, ResolveRequest):
            return _granted(request, ports[min(ports)].grant)
        compiled = ports.get(request.port)
        if compiled is None:
            return self._other_port(request, ports)
        if isinstance(request, NetworkRequest):
            return _granted(request, compiled.grant)
        if isinstance(request, AddressRequest):
            return self._address(request, host, compiled)
        return self._http(request, compiled)

    def _ports_of(self, host: str) -> dict[int, _Compiled] | None:
        """
        The grants of the most specific host that covers `host`, by port.
        """
        if host in self._grants or is_address(host):
            return self._grants.get(host)
        rest = host
        while rest:
            rest = rest.partition(".")[2]
            if found := self._grants.get(f"*.{rest}"):
                return found
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
            return _granted(request, grant, rule)
        why = f"{host} has the address {address}, which is {KINDS[found]}"
        return self._denied(request, why, _address_remedy(grant, found), grant, rule)

    def _http(self, request: HttpRequest, compiled: _Compiled) -> Decision:
        grant = compiled.grant
        if problem := _http_problem(request, grant):
            remedy = _scheme_remedy(request, grant)
            return self._denied(request, problem, remedy, grant, compiled.http)
        if not compiled.rules:
            return _granted(request, grant)
        path = normal_path(request.path)
        covering = [one for one in compiled.rules if one.allows_path(path)]
        for one in covering:
            if request.method in one.methods:
                return _granted(request, grant, one.rule)
        if covering:
            why = f"the method {request.method} is not granted for this path"
        elif any(request.method in one.methods for one in compiled.rules):
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


def _granted(request: AnyNetworkRequest, grant: NetworkGrant, rule: Rule | None = None) -> Decision:
    return Decision(True, rule or grant.rule, f"{_asked(request)} is granted", network=grant)


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
