# super() follows the method resolution order through a diamond.
class Base:
    def hello(self):
        return ["Base"]


class Loud(Base):
    def hello(self):
        return ["Loud", *super().hello()]


class Polite(Base):
    def hello(self):
        return ["Polite", *super().hello()]


class Butler(Loud, Polite):
    def hello(self):
        return ["Butler", *super().hello()]


print(Butler().hello(), [c.__name__ for c in Butler.__mro__])
print(super(Loud, Butler()).hello(), issubclass(Butler, Base), Butler.__bases__)
try:
    type("Bad", (Base, Loud), {})
except TypeError as error:
    print("mro:", str(error)[:27])
