# Positional-only, keyword-only, defaults and mutable defaults behave as defined.
def mixed(a, b=2, /, c=3, *rest, d, e=5, **more):
    return a, b, c, rest, d, e, more


print(mixed(1, d=4))
print(mixed(1, 2, 3, 4, 5, d=6, a=7, b=8))


def collect(item, into=[]):
    into.append(item)
    return into


print(collect(1), collect(2), collect(3, []), collect.__defaults__)
print(mixed.__kwdefaults__, mixed.__code__.co_posonlyargcount)
for call in (lambda: mixed(d=1), lambda: mixed(1), lambda: mixed(1, d=1, **{"e": 1, "f": 2})):
    try:
        print(call())
    except TypeError as error:
        print(error)
