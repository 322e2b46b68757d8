# A vector class overloads arithmetic, comparison, indexing and reflection.
import functools


@functools.total_ordering
class Vec:
    def __init__(self, *xs):
        self.xs = xs

    def __repr__(self):
        return f"Vec{self.xs}"

    def __add__(self, other):
        return (
            Vec(*(a + b for a, b in zip(self.xs, other.xs)))
            if isinstance(other, Vec)
            else NotImplemented
        )

    def __mul__(self, k):
        return Vec(*(a * k for a in self.xs)) if isinstance(k, (int, float)) else NotImplemented

    __rmul__ = __mul__

    def __matmul__(self, other):
        return sum(a * b for a, b in zip(self.xs, other.xs))

    def __eq__(self, other):
        return isinstance(other, Vec) and self.xs == other.xs

    def __lt__(self, other):
        return abs(self) < abs(other)

    def __abs__(self):
        return (self @ self) ** 0.5

    def __neg__(self):
        return self * -1

    def __hash__(self):
        return hash(self.xs)


a, b = Vec(3, 4), Vec(1, 2)
print(a + b, 2 * a, a * 0.5, a @ b, abs(a), -b, a >= b, {a: 1}[Vec(3, 4)], sum([b, b], Vec(0, 0)))
a + 1
