# Sieve, factorisation, greatest divisors and perfect numbers.
def sieve(limit):
    flags = bytearray([1]) * (limit + 1)
    flags[0:2] = b"\0\0"
    for n in range(2, int(limit**0.5) + 1):
        if flags[n]:
            flags[n * n :: n] = bytes(len(range(n * n, limit + 1, n)))
    return [n for n, flag in enumerate(flags) if flag]


def factors(n):
    out, p = {}, 2
    while p * p <= n:
        while n % p == 0:
            out[p] = out.get(p, 0) + 1
            n //= p
        p += 1
    return out | ({n: 1} if n > 1 else {})


primes = sieve(10000)
print(
    len(primes),
    primes[-3:],
    factors(360360),
    factors(600851475143),
    [n for n in range(2, 500) if sum(d for d in range(1, n) if n % d == 0) == n],
)
