# A subclass that forgets super().__init__ lacks what it would have set.
class Base:
    def __init__(self, name):
        self.name = name


class Child(Base):
    def __init__(self, name, age):
        self.age = age


c = Child("Ann", 5)
print(c.age)
print(c.name)
