# Enumerations: members, lookups, aliases, auto, iteration and uniqueness.
import enum


class Color(enum.Enum):
    RED = 1
    GREEN = enum.auto()
    ROUGE = 1

    def hello(self):
        return f"I am {self.name.lower()}"

    @classmethod
    def default(cls):
        return cls.GREEN


print(
    list(Color),
    Color(1),
    Color["GREEN"],
    Color.ROUGE is Color.RED,
    Color.RED.hello(),
    Color.default().value,
    Color.RED == 1,
    repr(Color.RED),
    len(Color),
    Color.RED in Color,
)
print(
    {Color.RED: "r"}[Color.ROUGE],
    list(Color.__members__),
    isinstance(Color.RED, Color),
    enum.Enum("Animal", "CAT DOG")["DOG"].value,
)
Color(9)
