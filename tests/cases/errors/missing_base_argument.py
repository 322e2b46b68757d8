# A class called without what its __init__ needs.
class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


print(Point(1, 2).y)
Point(1)
