# Slots save a dictionary and refuse unknown attributes.
class Pixel:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


class Named(Pixel):
    __slots__ = ("name",)


n = Named(1, 2)
n.name = "p"
print(n.x, n.name, Named.__slots__, hasattr(n, "__dict__"))
p = Pixel(0, 0)
p.color = "red"
