# A heap schedules by priority, merges sorted streams, and finds the largest.
import heapq

heap = []
for entry in [(3, "ship"), (1, "plan"), (2, "build"), (1, "hire")]:
    heapq.heappush(heap, entry)
print([heapq.heappop(heap) for _ in range(4)])
print(
    heapq.nlargest(2, [5, 1, 9, 3]),
    heapq.nsmallest(2, ["bbb", "a", "cc"], key=len),
    list(heapq.merge([1, 4, 7], [2, 5], [3])),
)
h = [9, 8, 7, 1]
heapq.heapify(h)
print(heapq.heappushpop(h, 0), heapq.heapreplace(h, 10), h[0])
heapq.heappop([])
