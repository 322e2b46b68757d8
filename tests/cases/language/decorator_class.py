# A class as decorator counts calls, and one on a class registers it.
class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)


registry = {}


def register(cls):
    registry[cls.__name__.lower()] = cls
    return cls


@Counted
def area(w, h):
    return w * h


@register
class Circle:
    pass


@register
class Square:
    pass


print([area(n, n) for n in range(4)], area.calls, sorted(registry), registry["circle"] is Circle)
