"""
What audit mode may relax, and what has to be ready for it. How a policy comes to have something to
relax is in `audit_mode.py`, which only those who read policy files load.
"""

from dataclasses import replace

from policy.requests import (
    AddressRequest,
    FileRequest,
    HttpRequest,
    NetworkRequest,
    Request,
    ResolveRequest,
)
from policy.types import Policy

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def relaxes(request: Request) -> bool:
    """
    Whether audit mode may allow a request like this one.
    """
    if isinstance(request, FileRequest):
        return not request.action.changes
    if isinstance(request, HttpRequest):
        return request.method in SAFE_METHODS
    return isinstance(request, NetworkRequest | ResolveRequest | AddressRequest)


def prepared(policy: Policy) -> Policy:
    """
    The policy whose mounts and connections have to be made ready for a session under `policy`:
    itself, or in audit mode also what may be looked at. It is not the one that decides.
    """
    if policy.lenient is None:
        return policy
    network = (*policy.network, *policy.lenient.network)
    return replace(policy, filesystem=policy.lenient.filesystem, network=network)
