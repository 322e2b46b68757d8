# split keeps groups; flags change case, lines, dots and layout.
import re

print(
    re.split(r"[,;]\s*", "a, b;c"),
    re.split(r"(\d)", "a1b2c"),
    re.split(r"\s+", "  x  y ", maxsplit=1),
)
print(
    re.findall(r"^\w+", "one two\nthree", re.M),
    re.search("a.c", "A\nC", re.I | re.S) is not None,
    re.findall(r"\w+", "é ñ", re.A),
)
number = re.compile(
    r"""
    (?P<sign>[+-])?   # a sign
    (?P<int>\d+)
    (?:\.(?P<frac>\d*))?   # maybe a fraction
""",
    re.VERBOSE,
)
print(
    [number.fullmatch(s) and number.fullmatch(s).groupdict() for s in ("-3.25", "7", "x")],
    number.flags & re.X != 0,
    (re.I | re.M),
    re.compile("a", re.I),
)
