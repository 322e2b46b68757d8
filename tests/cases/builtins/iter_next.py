# next with a default, iter with a sentinel, and exhausted iterators.
it = iter([1, 2])
print(next(it), next(it), next(it, "end"), list(it))
values = [5, 4, 3, 0, 9]
print(list(iter(lambda: values.pop(0), 0)), values, list(reversed("abc")))
next(iter(()))
