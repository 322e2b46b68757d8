# Patterns that check mail addresses, colours, dates, and tokens.
import re

checks = {
    r"[^@\s]+@[^@\s]+\.[a-z]{2,}": ["a@b.co", "a b@c.de", "x@y"],
    r"#(?:[0-9a-fA-F]{3}){1,2}": ["#fff", "#12345", "#A1B2C3"],
    r"(?:[01]\d|2[0-3]):[0-5]\d": ["23:59", "24:00", "7:05"],
}
for pattern, texts in checks.items():
    print([bool(re.fullmatch(pattern, t)) for t in texts])
tokens = re.compile(r"\s*(?:(?P<num>\d+\.?\d*)|(?P<name>[a-z]\w*)|(?P<op>[-+*/()=]))")
print([(m.lastgroup, m[m.lastgroup]) for m in tokens.finditer("x1 = 3.5*(y - 2)")])
