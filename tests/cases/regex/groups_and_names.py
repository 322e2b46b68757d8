# Groups by number, name, and none; findall and finditer.
import re

line = '127.0.0.1 - - [10/Oct/2023:13:55:36] "GET /a?b=1 HTTP/1.1" 200 2326'
m = re.match(
    r'(?P<ip>[\d.]+) .*? \[(?P<day>\d+)/(\w+)/.*?\] "(\S+) (?P<path>\S+)[^"]*" (\d{3}) (\d+|-)',
    line,
)
print(m.group("ip", 3), m["path"], m.groupdict(), m.span("ip"), m.lastindex, m.groups()[-2:])
print(
    re.findall(r"(\w)(\d)", "a1 b2 c"),
    re.findall(r"\d+", "1 22 333"),
    [(x.start(), x[0]) for x in re.finditer("o", "foo boo")],
)
print(
    re.match(r"(a)|(b)", "b").groups(),
    re.search("x", "abc"),
    re.fullmatch(r"\d{3}", "1234"),
    m.expand(r"\g<ip>:\4"),
)
m.group("port")
