# Hand-written sorts agree with sorted.
import random


def quick(xs):
    return (
        xs
        if len(xs) < 2
        else quick([x for x in xs[1:] if x < xs[0]])
        + [xs[0]]
        + quick([x for x in xs[1:] if x >= xs[0]])
    )


def merge(xs):
    if len(xs) < 2:
        return xs
    a, b = merge(xs[: len(xs) // 2]), merge(xs[len(xs) // 2 :])
    out = []
    while a and b:
        out.append((a if a[0] <= b[0] else b).pop(0))
    return out + a + b


def bubble(xs):
    xs, swaps = xs[:], 0
    for i in range(len(xs)):
        for j in range(len(xs) - 1 - i):
            if xs[j] > xs[j + 1]:
                xs[j], xs[j + 1], swaps = xs[j + 1], xs[j], swaps + 1
    return xs, swaps


data = random.Random(5).sample(range(200), 60)
print(
    quick(data) == merge(data) == bubble(data)[0] == sorted(data), bubble(data)[1], sorted(data)[:5]
)
