"""
Calls of a package that is not ours: its errors become ours, and a key that it has is not told.
"""

import sys
from collections.abc import Callable
from typing import Any

from agent_client.adapters.key import Key
from agent_client.errors import (
    ModelBusy,
    ModelFailed,
    ModelRefused,
    ModelUnreachable,
    ModelUnreadable,
)

_SAID_CHARS = 300
_BUSY_FROM = 500
_BUSY = {408, 409, 425, 429}


def called(call: Callable[[], object], failures: tuple[type[Exception], ...], key: Key) -> Any:
    """
    The result of a call as plain data. Raises ModelFailed where one of `failures` was raised.
    """
    try:
        result = call()
    except failures as error:
        failed = _meant(error, key)
    else:
        return _plain(result)
    raise failed  # outside the handler: the package's frames hold headers


def failures_of(package: str, *names: str) -> tuple[type[Exception], ...]:
    """
    Exception classes that an imported package has by these names, alone or in lists.
    """
    module = sys.modules.get(package)
    found: list[type[Exception]] = []
    for name in names:
        named = getattr(module, name, ())
        candidates = named if isinstance(named, (list, tuple)) else [named]
        found += [one for one in candidates if isinstance(one, type) and issubclass(one, Exception)]
    return tuple(found)


def package_of(thing: object) -> str:
    """
    The package that a client, or a function, comes from.
    """
    home = getattr(thing, "__module__", None) or type(thing).__module__
    return str(home).partition(".")[0]


def key_of(client: object) -> Key:
    """
    The key that a client carries, to be hidden in what it says.
    """
    key = getattr(client, "api_key", None)
    usable = isinstance(key, str) and key.isascii() and key.isprintable() and " " not in key
    return Key(key) if isinstance(key, str) and usable else Key("")


def _plain(result: object) -> dict[str, Any]:
    dump = getattr(result, "model_dump", None)
    plain = dump() if callable(dump) else result
    if isinstance(plain, dict):
        return plain
    raise ModelUnreadable(f"the client returned {type(result).__name__}, not a completion")


def _meant(error: Exception, key: Key) -> ModelFailed:
    status = getattr(error, "status_code", None)
    said = " ".join(key.hide(str(error)).split())[:_SAID_CHARS]
    text = f"{type(error).__name__}: {said}"
    if not isinstance(status, int):
        return ModelUnreachable(text)
    busy = status in _BUSY or status >= _BUSY_FROM
    return ModelBusy(text, status=status) if busy else ModelRefused(text, status=status)
