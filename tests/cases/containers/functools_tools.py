# reduce, partial, caches, dispatch and comparison by functools.
import functools


@functools.lru_cache(maxsize=None)
def ways(n):
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)


@functools.singledispatch
def show(x):
    return f"thing {x}"


@show.register
def _(x: int):
    return f"int {x}"


@show.register(list)
def _(x):
    return f"list of {len(x)}"


print(
    ways(80),
    ways.cache_info(),
    functools.reduce(lambda a, b: a * b, range(1, 6)),
    functools.partial(int, base=2)("101"),
)
print(
    show(1),
    show([1]),
    show("s"),
    show(True),
    sorted(
        ["b10", "a9", "a10"],
        key=functools.cmp_to_key(lambda a, b: (len(a) > len(b)) - (len(a) < len(b))),
    ),
)
p = functools.partial(print, "a", sep="-")
p("b", "c")
print(p.args, p.keywords)


class Cell:
    @functools.singledispatchmethod
    def put(self, x):
        raise NotImplementedError(type(x).__name__)

    half = functools.partialmethod(put, 5)

    @put.register
    def _(self, x: int):
        return x * 2


print(Cell().half())
Cell().put(1.5)
