# Static methods, class methods as constructors, and bound methods as values.
class Temperature:
    count = 0

    def __init__(self, celsius):
        self.celsius = celsius
        type(self).count += 1

    @classmethod
    def from_fahrenheit(cls, f):
        return cls(round((f - 32) / 1.8, 2))

    @staticmethod
    def is_freezing(celsius):
        return celsius <= 0

    def show(self):
        return f"{self.celsius}°"


class Lab(Temperature):
    count = 100


t = Temperature.from_fahrenheit(212)
l = Lab.from_fahrenheit(14)
print(
    t.show(), l.show(), type(l).__name__, Temperature.count, Lab.count, Lab.is_freezing(l.celsius)
)
show = l.show
print(show(), show.__self__ is l, Temperature.show(t), list(map(Temperature.show, [t, l])))
