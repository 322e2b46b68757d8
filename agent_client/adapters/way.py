"""
How an adapter reaches its model: an endpoint that is asked here, or a client of another package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agent_client.adapters.endpoint import Endpoint, Patience
from agent_client.adapters.foreign import called, failures_of, key_of, package_of
from agent_client.adapters.key import Key, key_or_variable

Body: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Way:
    """
    `post` sends a request's body and gives the answer's; it raises ModelFailed. `key` is to be
    hidden in what comes back, and `shown` says where it goes.
    """

    key: Key
    post: Callable[[Body], Any]
    shown: str


def to_endpoint(
    where: str,
    key: str | None,
    variable: str,
    headers: Callable[[Key], Mapping[str, str]],
    patience: Patience | None,
) -> Way:
    """
    The way to the address `where`, with `key`, or that of an environment's variable.
    """
    found = key_or_variable(key, variable)
    endpoint = Endpoint(where, found, headers, patience or Patience())
    return Way(found, endpoint.post, endpoint.shown)


def through(client: object, create: Callable[..., object], failure: str) -> Way:
    """
    The way through another package's client, by its call `create`; `failure` is the name of the
    package's errors.
    """
    key, package = key_of(client), package_of(client)
    failures = failures_of(package, failure)
    return Way(key, lambda body: called(lambda: create(**body), failures, key), package)
