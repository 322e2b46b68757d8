# batched cuts an iterable into pieces.
# Needs Python 3.12.
import itertools
import math

print(list(itertools.batched("abcdefg", 3)), math.sumprod([1, 2, 3], [4, 5, 6]))
# Writes:
# [('a', 'b', 'c'), ('d', 'e', 'f'), ('g',)] 32
