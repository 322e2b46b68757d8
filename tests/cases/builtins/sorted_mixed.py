# Values that have no order cannot be sorted.
print(sorted([(2, "b"), (1, "z"), (1, "a")]), sorted("hello", reverse=True), sorted([1.5, 1, True]))
sorted([3, "a", None])
