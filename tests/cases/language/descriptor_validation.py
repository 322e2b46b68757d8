# Descriptors validate attributes and know their own names.
class Bounded:
    def __init__(self, low, high):
        self.low, self.high = low, high

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance, value):
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} must be in [{self.low}, {self.high}], not {value}")
        instance.__dict__[self.name] = value


class Reading:
    temperature = Bounded(-50, 60)
    humidity = Bounded(0, 100)


r = Reading()
r.temperature, r.humidity = 21.5, 40
print(vars(r), Reading.humidity.name)
r.humidity = 140
