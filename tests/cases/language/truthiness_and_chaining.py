# Chained comparisons evaluate once, and `and`/`or` return operands.
calls = []


def f(n):
    calls.append(n)
    return n


print(f(1) < f(5) < f(3) < f(9), calls)
print(0 or "default", [] and 1, "a" and "b", None or 0 or [], not "", 1 < 2 != 3)


class Empty:
    def __len__(self):
        return 0


class Never(Empty):
    def __bool__(self):
        return True


print(bool(Empty()), bool(Never()), bool(0.0), bool("0"), all([]), any([]), 3 if Empty() else 4)
