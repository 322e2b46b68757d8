# A comprehension's variable does not leak, and its first iterable is evaluated outside.
x = "outer"
squares = [x * x for x in range(4)]
print(x, squares)


class Holder:
    sizes = [1, 2, 3]
    doubled = [size * 2 for size in sizes]


print(Holder.doubled, hasattr(Holder, "size"))
total = 0
partial = [total := total + value for value in [5, 7, 11]]
print(partial, total)
