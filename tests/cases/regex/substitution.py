# sub with templates, functions, counts and names.
import re

print(
    re.sub(r"(\w+)@(\w+)\.com", r"\2 at \1", "ann@site.com, bob@org.com", count=1),
    re.subn("a", "b", "banana"),
)
print(
    re.sub(r"\d+", lambda m: str(int(m[0]) * 2), "3 cats, 12 dogs"),
    re.sub(r"(?P<y>\d{4})-(?P<m>\d\d)", r"\g<m>/\g<y>", "2024-05"),
    re.sub("x*", "-", "abc"),
)
print(
    re.sub(r"(?<!^)(?=[A-Z])", "_", "camelCaseName").lower(),
    re.sub(r"\b(\w)(\w*)", lambda m: m[1].upper() + m[2], "the end"),
    re.escape("a.b*c[d]"),
)
re.sub("(a)", r"\2", "a")
