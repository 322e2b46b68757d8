# getattr, setattr, hasattr, delattr, vars and callable on plain objects.
class Box:
    kind = "box"

    def size(self):
        return 3


b = Box()
setattr(b, "with space", 1)
print(
    getattr(b, "with space"), hasattr(b, "size"), callable(b.size), getattr(b, "none", 0), vars(b)
)
delattr(b, "with space")
print(vars(b), isinstance(b, (int, Box)), issubclass(bool, int), type(b).__name__, callable(Box))
print([n for n in dir(b) if not n.startswith("_")])
delattr(b, "kind")
