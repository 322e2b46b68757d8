"""
Signed notes: a text, and who vouches for it, in a form that other tools read too.

A note is a text of whole lines, an empty line, and a line for each signature: `— NAME BASE64`,
where the bytes are four of the key's identity and then the signature. Only Ed25519 is made and
believed here. Source: C2SP signed-note; RFC 8032.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from executor.audit.errors import NoteInvalid

MAX_NAME: Final = 200
_ED25519: Final = b"\x01"
_KEY: Final = 32
_IDENTITY: Final = 4
_DASH: Final = "\u2014 "
_SIGNER_FORM: Final = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """
    A name, and the Ed25519 key (32 bytes) that signs under it.
    """

    name: str
    key: bytes

    def __post_init__(self) -> None:
        """
        Raises NoteInvalid for a name that could not stand in a note.
        """
        if not is_name(self.name) or len(self.key) != _KEY:
            raise NoteInvalid(
                f"key name {self.name!r}: 1 to {MAX_NAME} characters, none of them a space or +, "
                f"and a key of {_KEY} bytes"
            )

    def __str__(self) -> str:
        return f"{self.name}+{self.identity.hex()}+{_base64(_ED25519 + self.key)}"

    @property
    def identity(self) -> bytes:
        """
        Four bytes that tell keys of one name apart.
        """
        told = self.name.encode() + b"\n" + _ED25519 + self.key
        return hashlib.sha256(told).digest()[:_IDENTITY]

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read `NAME+IDENTITY+BASE64`, as `str` writes it. Raises NoteInvalid.
        """
        name, identity, data = _parts(text.strip())
        found = cls(name, data)
        if identity != found.identity.hex():
            raise NoteInvalid(f"verifier key {text.strip()!r}: the identity is not that of the key")
        return found


@dataclass(frozen=True, slots=True)
class SecretKey:
    """
    The other half of a `PublicKey`.
    """

    name: str
    # Data classes show their fields; this one must not be in a log by accident.
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Self:
        """
        A new key under this name. Raises NoteInvalid for a name that could not stand in a note.
        """
        made = cls(name, Ed25519PrivateKey.generate().private_bytes_raw())
        _ = made.public
        return made

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read what `str` writes. Raises NoteInvalid, without a byte of the key in its message.
        """
        if not text.startswith(_SIGNER_FORM):
            raise NoteInvalid(f"this is no signing key: it does not begin with {_SIGNER_FORM}")
        try:
            name, identity, seed = _parts(text.removeprefix(_SIGNER_FORM).strip())
        except NoteInvalid:
            raise NoteInvalid("this signing key is damaged") from None
        found = cls(name, seed)
        if len(seed) != _KEY or identity != found.public.identity.hex():
            raise NoteInvalid("this signing key is damaged")
        return found

    def __str__(self) -> str:
        identity = self.public.identity.hex()
        return f"{_SIGNER_FORM}{self.name}+{identity}+{_base64(_ED25519 + self.seed)}"

    @property
    def public(self) -> PublicKey:
        """
        What checks its signatures.
        """
        return PublicKey(self.name, self._private().public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """
        The note of a text, which ends with a line's end.
        """
        signature = self.public.identity + self._private().sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {_base64(signature)}\n"

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def opened(note: str, key: PublicKey) -> str:
    """
    The text of a note that `key` has signed.

    Signatures of other keys are passed over. Raises NoteInvalid where there is none of this one,
    or it is not right.
    """
    text, blank, rest = note.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise NoteInvalid("a note is a text, an empty line, and lines with signatures")
    text += "\n"
    for line in rest.splitlines():
        name, data = _signature(line)
        if name == key.name and data[:_IDENTITY] == key.identity:
            _check(text, data[_IDENTITY:], key)
            return text
    raise NoteInvalid(f"the note has no signature of {key.name} ({key.identity.hex()})")


def is_name(text: str) -> bool:
    """
    Whether a key can have this name.
    """
    plain = text.isprintable() and not any(char.isspace() or char == "+" for char in text)
    return plain and 1 <= len(text) <= MAX_NAME


def _check(text: str, signature: bytes, key: PublicKey) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, text.encode())
    except InvalidSignature:
        raise NoteInvalid(f"the signature of {key.name} is not that of this text") from None


def _signature(line: str) -> tuple[str, bytes]:
    name, space, data = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise NoteInvalid(f"a signature is `{_DASH}NAME BASE64`, not {line[:80]!r}")
    return name, _bytes(data)


def _parts(text: str) -> tuple[str, str, bytes]:
    name, _, rest = text.partition("+")
    identity, _, data = rest.partition("+")
    found = _bytes(data)
    if found[:1] != _ED25519:
        raise NoteInvalid(f"key {name!r} is not of Ed25519, or no key: write NAME+IDENTITY+BASE64")
    return name, identity, found[1:]


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid("what should be base64 is not") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
