# Knapsack, edit distance, longest subsequence and coin change.
from functools import cache


def knapsack(items, room):
    best = [0] * (room + 1)
    for weight, value in items:
        for r in range(room, weight - 1, -1):
            best[r] = max(best[r], best[r - weight] + value)
    return best[room]


@cache
def distance(a, b):
    if not a or not b:
        return len(a or b)
    return min(
        distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0])
    )


@cache
def common(a, b):
    if not a or not b:
        return ""
    if a[0] == b[0]:
        return a[0] + common(a[1:], b[1:])
    return max(common(a[1:], b), common(a, b[1:]), key=len)


coins = [1] + [0] * 100
for coin in (1, 5, 10, 25, 50):
    for n in range(coin, 101):
        coins[n] += coins[n - coin]
print(
    knapsack([(1, 1), (3, 4), (4, 5), (5, 7)], 7),
    distance("kitten", "sitting"),
    common("AGGTAB", "GXTXAYB"),
    coins[100],
)
