# itertools chains, slices, accumulates, groups and pairs.
from itertools import (
    accumulate,
    chain,
    compress,
    dropwhile,
    filterfalse,
    groupby,
    islice,
    pairwise,
    starmap,
    takewhile,
    tee,
    zip_longest,
)
import operator

print(
    list(chain("ab", [1])),
    list(chain.from_iterable([[1], [2, 3]])),
    list(islice(range(100), 5, 20, 7)),
    list(compress("abcd", [1, 0, 1])),
)
print(
    list(accumulate([1, 2, 3, 4])),
    list(accumulate([3, 1, 4, 1], max)),
    list(accumulate([1, 2, 3], operator.mul, initial=10)),
)
print(
    [(k, list(g)) for k, g in groupby("aAbBBc", str.lower)],
    list(pairwise([1, 4, 9])),
    list(zip_longest("ab", [1], fillvalue="-")),
)
print(
    list(takewhile(lambda x: x < 3, [1, 2, 3, 1])),
    list(dropwhile(lambda x: x < 3, [1, 2, 3, 1])),
    list(filterfalse(bool, [0, 1, ""])),
    list(starmap(pow, [(2, 3), (3, 2)])),
)
a, b = tee(iter([1, 2]))
print(list(a), list(b))
