# Loop `else` runs when nothing broke out: a prime sieve and a search.
primes = []
for n in range(2, 40):
    for p in primes:
        if n % p == 0:
            break
    else:
        primes.append(n)
print(primes)
n = 27
steps = 0
while n != 1:
    n = n // 2 if n % 2 == 0 else 3 * n + 1
    steps += 1
else:
    print("steps", steps)
for i, (a, b) in enumerate(zip("ab", [1, 2], strict=True), start=5):
    print(i, a, b)
