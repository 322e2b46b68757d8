# A recursive generator flattens what is nested, strings left whole.
from collections.abc import Iterable


def flatten(items):
    for item in items:
        if isinstance(item, Iterable) and not isinstance(item, (str, bytes)):
            yield from flatten(item)
        else:
            yield item


print(list(flatten([1, [2, (3, {4: "x"}), "five"], [[[6]]], b"77"])))
deep = []
for _ in range(100):
    deep = [deep, 1]
print(sum(flatten(deep)))
