# Products, permutations and combinations solve small searches.
from itertools import combinations, combinations_with_replacement, permutations, product

print(
    list(product("ab", repeat=2)),
    list(combinations("abcd", 2)),
    list(combinations_with_replacement([1, 2], 2)),
    len(list(permutations(range(6)))),
)
for S, E, N, D, M, O, R, Y in [(9, 5, 6, 7, 1, 0, 8, 2)]:
    print(S * 1000 + E * 100 + N * 10 + D + M * 1000 + O * 100 + R * 10 + E)
print(
    [p for p in permutations([1, 2, 3]) if p[0] < p[1]],
    [c for c in combinations([1, 5, 10, 25, 50], 3) if sum(c) == 40],
)
queens = [
    q
    for q in permutations(range(6))
    if len({q[i] + i for i in range(6)}) == len({q[i] - i for i in range(6)}) == 6
]
print(queens)
