# is, ==, copies and default object behaviour.
a = [1, [2]]
b = a
c = list(a)
print(a is b, a is c, a == c, c[1] is a[1], [] is [], None is None, () is ())
o, p = object(), object()
print(o == p, o != p, o == o, bool(o), type(o), repr(type(o)))
nan = float("nan")
print(nan == nan, nan in [nan], [nan] == [nan], nan is nan)
