"""
The two functions of `hashlib` that CPython takes from OpenSSL alone: runs in the guest.

Written with what the guest has, they give the same keys and are slow: half a million rounds of
PBKDF2 (RFC 8018) a second, a tenth of what OpenSSL does, and a second for scrypt (RFC 7914) with
n=1024 and r=8, hundreds of times what it takes natively. That is enough to read and check what
others made. They are put into `hashlib` when it is imported.

scrypt spends its time in Salsa20/8. Its sixteen words are held as the four diagonals of their
square, each a long integer of four lanes of 64 bits: a quarter round then is three operations on
all four at once, with room for carries, and a row's turn is a rotation of the lanes.
"""

import operator
import sys

LANES = 4
LANE = (1 << 32) - 1
WORDS = sum(LANE << 64 * lane for lane in range(LANES))
WHOLE = (1 << 64 * LANES) - 1
# Where the words of the square stand on its diagonals, and back.
DIAGONALS = (0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11)
# What OpenSSL holds to where no `maxmem` is given.
SCRYPT_MEMORY = 32 * 2**20
INT_MAX = 2**31 - 1


def pbkdf2_hmac(hash_name, password, salt, iterations, dklen=None):
    """Stretch `password` into a key of `dklen` bytes: RFC 8018, section 5.2."""
    import hashlib

    if not isinstance(hash_name, str):
        raise TypeError(
            f"pbkdf2_hmac() argument 'hash_name' must be str, not {type(hash_name).__name__}"
        )
    password, salt = raw(password), raw(salt)
    try:
        plain = hashlib.new(hash_name)
    except ValueError:
        raise ValueError(f"unsupported hash type {hash_name}") from None
    if not plain.digest_size:
        raise ValueError(f"unsupported hash type {hash_name}: its digests have any length")
    iterations = positive(iterations, "iteration value")
    dklen = plain.digest_size if dklen is None else positive(dklen, "key length")
    inner, outer = keyed(plain, password)
    start = inner.copy()
    start.update(salt)
    key = bytearray()
    number = 0
    while len(key) < dklen:
        number += 1
        key += block(start, inner, outer, number, iterations)
    return bytes(key[:dklen])


def raw(data):
    """The bytes of any object that has some."""
    try:
        return bytes(memoryview(data))
    except TypeError:
        told = f"a bytes-like object is required, not '{type(data).__name__}'"
    raise TypeError(told)


def positive(number, name):
    """An integer from 1 to what a C int holds."""
    number = operator.index(number)
    if number < 1:
        raise ValueError(f"{name} must be greater than 0.")
    if number > INT_MAX:
        raise OverflowError(f"{name} is too great.")
    return number


def keyed(plain, password):
    """The two hashes of HMAC (RFC 2104) after their key: what is inside, and what is around it."""
    if len(password) > plain.block_size:
        whole = plain.copy()
        whole.update(password)
        password = whole.digest()
    password = password.ljust(plain.block_size, b"\0")
    inner, outer = plain.copy(), plain.copy()
    inner.update(bytes(byte ^ 0x36 for byte in password))
    outer.update(bytes(byte ^ 0x5C for byte in password))
    return inner, outer


def block(start, inner, outer, number, iterations):
    """One block of the key: the sum of the rounds, each the HMAC of the one before."""
    first = start.copy()
    first.update(number.to_bytes(4, "big"))
    last = outer.copy()
    last.update(first.digest())
    seen = last.digest()
    total = int.from_bytes(seen, "big")
    inside, around, number_of = inner.copy, outer.copy, int.from_bytes
    for _ in range(iterations - 1):
        first = inside()
        first.update(seen)
        last = around()
        last.update(first.digest())
        seen = last.digest()
        total ^= number_of(seen, "big")
    return total.to_bytes(len(seen), "big")


def scrypt(password, *, salt=None, n=None, r=None, p=None, maxmem=0, dklen=64):
    """Stretch `password` with memory into a key of `dklen` bytes: RFC 7914."""
    if salt is None:
        raise TypeError("salt is required")
    for name, number in (("n", n), ("r", r), ("p", p)):
        if not isinstance(number, int) or number < 0:
            raise TypeError(f"{name} is required and must be an unsigned int")
    if n < 2 or n & (n - 1):
        raise ValueError("n must be a power of 2.")
    if not 0 <= maxmem <= INT_MAX:
        raise ValueError(f"maxmem must be positive and smaller than {INT_MAX}")
    if not 1 <= dklen <= INT_MAX:
        raise ValueError(f"dklen must be greater than 0 and smaller than {INT_MAX}")
    if r < 1 or p < 1 or r * p >= 2**30:
        raise ValueError("Invalid parameter combination for n, r, p, maxmem.")
    size = 128 * r
    if size * (p + n + 2) > (maxmem or SCRYPT_MEMORY):
        raise ValueError("memory limit exceeded: maxmem has to hold 128 * r * (n + p + 2) bytes")
    mixed = pbkdf2_hmac("sha256", password, salt, 1, p * size)
    parts = [mix(mixed[at : at + size], n, r) for at in range(0, p * size, size)]
    return pbkdf2_hmac("sha256", password, b"".join(parts), 1, dklen)


def mix(data, n, r):
    """scryptROMix: fill a table with `n` states, then visit it as the states say."""
    size = 128 * r
    state = rows(data)
    table = bytearray(n * size)
    for at in range(0, n * size, size):
        table[at : at + size] = packed(state)
        state = mixed_blocks(state)
    # The last block begins with a word whose low bits choose: lane 0 of its first diagonal.
    chooser = len(state) - 4
    for _ in range(n):
        at = (state[chooser] & (n - 1) & LANE) * size
        seen = unpacked(table[at : at + size])
        state = mixed_blocks([one ^ other for one, other in zip(state, seen)])
    return words(state)


def rows(data):
    """Blocks of 64 bytes as diagonals, four for each."""
    found = []
    for at in range(0, len(data), 64):
        square = [int.from_bytes(data[at + 4 * w : at + 4 * w + 4], "little") for w in DIAGONALS]
        for row in range(0, 16, LANES):
            found.append(sum(square[row + lane] << 64 * lane for lane in range(LANES)))
    return found


def words(state):
    """The bytes of diagonals: the inverse of `rows`."""
    data = bytearray(16 * len(state))
    for row, value in enumerate(state):
        for lane in range(LANES):
            at = 64 * (row // 4) + 4 * DIAGONALS[4 * (row % 4) + lane]
            data[at : at + 4] = (value >> 64 * lane & LANE).to_bytes(4, "little")
    return bytes(data)


def packed(state):
    """Diagonals two by two, the second in the lanes' upper halves: no byte is spare."""
    pairs = zip(state[::2], state[1::2])
    return b"".join([(low | high << 32).to_bytes(32, "little") for low, high in pairs])


def unpacked(data):
    """The inverse of `packed`."""
    state = []
    for at in range(0, len(data), 32):
        pair = int.from_bytes(data[at : at + 32], "little")
        state += (pair & WORDS, pair >> 32 & WORDS)
    return state


def mixed_blocks(state):
    """scryptBlockMix: each block is added to the last result and hashed; even ones go first."""
    a, b, c, d = state[-4:]
    even, odd = [], []
    for at in range(0, len(state), 8):
        a, b, c, d = salsa(a ^ state[at], b ^ state[at + 1], c ^ state[at + 2], d ^ state[at + 3])
        even += (a, b, c, d)
        a, b, c, d = salsa(
            a ^ state[at + 4], b ^ state[at + 5], c ^ state[at + 6], d ^ state[at + 7]
        )
        odd += (a, b, c, d)
    return even + odd


def salsa(a, b, c, d, mask=WORDS, whole=WHOLE):
    """Salsa20/8: four times the columns and then the rows of the square."""
    a0, b0, c0, d0 = a, b, c, d
    for _ in range(4):
        t = a + d & mask
        b ^= (t << 7 | t >> 25) & mask
        t = b + a & mask
        c ^= (t << 9 | t >> 23) & mask
        t = c + b & mask
        d ^= (t << 13 | t >> 19) & mask
        t = d + c & mask
        a ^= (t << 18 | t >> 14) & mask
        # Rows: what was the fourth diagonal is now the second, and the other way round.
        b, d = (d >> 64 | d << 192) & whole, (b >> 192 | b << 64) & whole
        c = (c >> 128 | c << 128) & whole
        t = a + d & mask
        b ^= (t << 7 | t >> 25) & mask
        t = b + a & mask
        c ^= (t << 9 | t >> 23) & mask
        t = c + b & mask
        d ^= (t << 13 | t >> 19) & mask
        t = d + c & mask
        a ^= (t << 18 | t >> 14) & mask
        b, d = (d >> 64 | d << 192) & whole, (b >> 192 | b << 64) & whole
        c = (c >> 128 | c << 128) & whole
    return a + a0 & mask, b + b0 & mask, c + c0 & mask, d + d0 & mask


def complete(module):
    """Give `hashlib` what it lacks; what is there stays. Its `__all__` never has scrypt."""
    for function in (pbkdf2_hmac, scrypt):
        if not hasattr(module, function.__name__):
            function.__module__ = "hashlib"
            setattr(module, function.__name__, function)
            if function is pbkdf2_hmac:
                module.__all__ += (function.__name__,)


def install(acts):
    """Complete `hashlib`: now, or by `acts` (by module name) as soon as it is imported."""
    if "hashlib" in sys.modules:
        complete(sys.modules["hashlib"])
    else:
        acts["hashlib"] = complete
