# Heaps of maxima, ordered UUIDs, and strict maps.
# Needs Python 3.14.
import heapq
import uuid

h = [3, 1, 2]
heapq.heapify_max(h)
print(heapq.heappop_max(h), uuid.uuid7() < uuid.uuid7(), uuid.uuid7().version)
try:
    list(map(pow, [1, 2], [1], strict=True))
except ValueError as error:
    print(error)
# Writes:
# 3 True 7
# map() argument 2 is shorter than argument 1
