# operator's functions stand for expressions.
import operator as op
from functools import reduce

rows = [{"n": "a", "v": {"x": 2}}, {"n": "b", "v": {"x": 1}}]
print(
    sorted(rows, key=lambda r: op.getitem(r["v"], "x"))[0]["n"],
    list(map(op.itemgetter("n"), rows)),
    reduce(op.or_, [1, 4, 8]),
)
print(
    op.attrgetter("real", "imag")(3j),
    op.methodcaller("split", ",")("a,b"),
    op.truediv(7, 2),
    op.concat([1], [2]),
    op.countOf("banana", "a"),
    op.contains([1], 1),
    op.index(True),
)
x = [1, 2]
op.setitem(x, 0, 9)
print(op.iadd(x, [3]), x, op.itemgetter(1, 2)("abc"))
