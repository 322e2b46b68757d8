# A metaclass collects subclasses, checks them, and orders the namespace.
class Plugin(type):
    known = {}

    def __new__(meta, name, bases, namespace, **options):
        cls = super().__new__(meta, name, bases, namespace)
        if bases:
            if "run" not in namespace:
                raise TypeError(f"{name} has no run()")
            meta.known[options.get("key", name)] = cls
        return cls

    def __init__(cls, name, bases, namespace, **options):
        super().__init__(name, bases, namespace)

    def __contains__(cls, item):
        return item in cls.known


class Base(metaclass=Plugin):
    pass


class Csv(Base, key="csv"):
    def run(self):
        return "csv!"


print(sorted(Plugin.known), "csv" in Base, Plugin.known["csv"]().run())


class Broken(Base):
    pass
