# Abstract classes demand methods; virtual subclasses are registered.
from abc import ABC, abstractmethod


class Shape(ABC):
    @abstractmethod
    def area(self): ...

    @property
    @abstractmethod
    def name(self): ...

    def __str__(self):
        return f"{self.name}: {self.area()}"


class Square(Shape):
    name = "square"

    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


Shape.register(int)
print(Square(3), isinstance(5, Shape), issubclass(Square, Shape), sorted(Shape.__abstractmethods__))
try:
    Shape()
except TypeError as error:
    print("abstract", "Shape" in str(error))
Square()
