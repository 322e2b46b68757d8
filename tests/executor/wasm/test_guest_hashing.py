"""
The guest's pbkdf2_hmac and scrypt, run by this Python, against those of OpenSSL.

What green does not prove: that the guest uses them; tests/cases/hashes does.
"""

import hashlib
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.wasm.program import SOURCES

OURS = types.ModuleType("hashing")
exec(SOURCES["hashing.py"], OURS.__dict__)
NAMES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")
KEYS = ("ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957", "77d6576238657b203b19ca42c18a0497")
BYTES = st.binary(max_size=300)


@given(
    st.sampled_from(NAMES),
    BYTES,
    BYTES,
    st.integers(1, 20),
    st.none() | st.integers(1, 200),
)
@settings(max_examples=200, deadline=None)
def test_pbkdf2_gives_the_key_that_openssl_gives(name, password, salt, rounds, length):
    given = (name, password, salt, rounds, length)
    assert OURS.pbkdf2_hmac(*given) == hashlib.pbkdf2_hmac(*given)


@given(BYTES, BYTES, st.integers(1, 6), st.integers(1, 9), st.integers(1, 4), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_scrypt_gives_the_key_that_openssl_gives(password, salt, log, r, p, length):
    given = {"salt": salt, "n": 2**log, "r": r, "p": p, "dklen": length}
    assert OURS.scrypt(password, **given) == hashlib.scrypt(password, **given)


def test_the_vectors_of_the_standards_hold():
    """
    RFC 6070, the second vector, and RFC 7914, section 12, the first.
    """
    derived = OURS.pbkdf2_hmac("sha1", b"password", b"salt", 2, 20)
    assert derived.hex() == KEYS[0]
    assert OURS.scrypt(b"", salt=b"", n=16, r=1, p=1).hex().startswith(KEYS[1])


WRONG_PBKDF2 = (
    ("sha256", b"p", b"s", 0),
    ("sha256", b"p", b"s", -1),
    ("sha256", b"p", b"s", 2**31),
    ("sha256", b"p", b"s", 1, 0),
    ("sha256", "p", b"s", 1),
    ("sha256", b"p", "s", 1),
    ("sha256", b"p", b"s", "1"),
    (5, b"p", b"s", 1),
    ("nope", b"p", b"s", 1),
    ("shake_128", b"p", b"s", 1),
)
WRONG_SCRYPT = (
    {},
    {"salt": b"s"},
    {"salt": b"s", "n": 3, "r": 1, "p": 1},
    {"salt": b"s", "n": 0, "r": 1, "p": 1},
    {"salt": b"s", "n": 16, "p": 1},
    {"salt": b"s", "n": 16, "r": 8},
    {"salt": b"s", "n": 16, "r": 0, "p": 1},
    {"salt": b"s", "n": 2**20, "r": 8, "p": 1},
    {"salt": b"s", "n": 16, "r": 8, "p": 1, "dklen": 0},
    {"salt": b"s", "n": 16, "r": 8, "p": 1, "maxmem": -1},
    {"salt": b"s", "n": 16, "r": 8, "p": 1, "maxmem": 100},
    {"salt": "s", "n": 16, "r": 8, "p": 1},
)


@pytest.mark.parametrize("given", WRONG_PBKDF2, ids=repr)
def test_what_openssl_refuses_of_pbkdf2_is_refused_by_the_same_exception(given):
    with pytest.raises((ValueError, TypeError, OverflowError)) as theirs:
        hashlib.pbkdf2_hmac(*given)
    # OpenSSL's own subclass of ValueError is not known elsewhere.
    kind = ValueError if issubclass(theirs.type, ValueError) else theirs.type
    with pytest.raises(kind):
        OURS.pbkdf2_hmac(*given)


@pytest.mark.parametrize("given", WRONG_SCRYPT, ids=repr)
def test_what_openssl_refuses_of_scrypt_is_refused_by_the_same_exception(given):
    with pytest.raises((ValueError, TypeError)) as theirs:
        hashlib.scrypt(b"p", **given)
    with pytest.raises(theirs.type):
        OURS.scrypt(b"p", **given)


def test_what_hashlib_has_stays_and_what_it_lacks_is_added_with_its_name():
    whole, poor = types.ModuleType("whole"), types.ModuleType("poor")
    whole.pbkdf2_hmac, whole.scrypt, whole.__all__ = print, print, ()
    poor.__all__ = ("new",)
    OURS.complete(whole)
    OURS.complete(poor)
    assert (whole.pbkdf2_hmac, whole.scrypt, whole.__all__) == (print, print, ())
    assert poor.__all__ == ("new", "pbkdf2_hmac")
    assert poor.scrypt.__module__ == "hashlib"


def test_it_is_done_at_once_or_when_hashlib_is_imported(monkeypatch):
    acts = {}
    OURS.install(acts)
    assert acts == {}
    monkeypatch.delitem(sys.modules, "hashlib")
    OURS.install(acts)
    assert acts == {"hashlib": OURS.complete}
