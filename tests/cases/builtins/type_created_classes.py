# type() makes classes, and __class__ can be changed.
Point = type(
    "Point", (), {"dims": 2, "norm": lambda self: sum(v * v for v in vars(self).values()) ** 0.5}
)
p = Point()
p.x, p.y = 3, 4
print(p.norm(), Point.__name__, Point.dims, type(p) is Point, type(Point))


class Other(Point):
    pass


p.__class__ = Other
print(type(p).__name__, Point.__subclasses__(), isinstance(p, Point))
