"""
A key that goes into one header and nowhere else: no text, repr or copy of this object has it.
"""

import os
from typing import NoReturn

from agent_client.errors import InvalidRequest

HIDDEN = "[key]"
# Shorter ones are what local servers are given for want of a key, such as `EMPTY`: words that code
# may have.
_SECRET_FROM_CHARS = 16


class Key:
    """
    A secret for an endpoint. Empty is no key.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        # Whatever else it is would end in an error of the HTTP library, which quotes the header.
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise InvalidRequest(
                "the key has characters that no header can carry, such as a space or an end of "
                "line; give the key alone"
            )
        self._text = text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return HIDDEN if self._text else "[no key]"

    def __reduce__(self) -> NoReturn:
        """
        Refuse to be copied into a file or another process.
        """
        raise TypeError("a key is not pickled; make the model anew where it is needed")

    def reveal(self) -> str:
        """
        The secret itself, for the header.
        """
        return self._text

    def hide(self, text: str) -> str:
        """
        A text of others, such as an endpoint's complaint, without the key.
        """
        return text.replace(self._text, HIDDEN) if self._text else text

    def hide_in_reply(self, text: str) -> str:
        """
        A model's words without the key, unless that is too short to be a secret: code is not to be
        changed for a word.
        """
        return self.hide(text) if len(self._text) >= _SECRET_FROM_CHARS else text


def key_or_variable(key: str | None, variable: str) -> Key:
    """
    The key that was given, else the environment's; an empty text is no key at all.
    """
    return Key(os.environ.get(variable, "").strip() if key is None else key)
