# str.format with attributes, indexes, conversions, and a formatter of one's own.
import string
from types import SimpleNamespace

o = SimpleNamespace(x=3, items=["a", "b"])
print("{o.x:>5} {o.items[1]} {0[k]} {1!r:^7}".format({"k": "v"}, "q", o=o))
print("{:,} {:<8}| {:+.1f} {:#06x}".format(1234567, "ab", 2.25, 255))


class Default(string.Formatter):
    def get_value(self, key, args, kwargs):
        return kwargs.get(key, f"<{key}>") if isinstance(key, str) else args[key]


print(Default().format("{a} {b} {0}", 1, a=2), list(string.Formatter().parse("x{y:>3}z")))
"{} {}".format(1)
