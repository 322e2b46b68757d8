# Lookaround, backreferences, conditionals, possessive and lazy repeats.
import re

print(
    re.findall(r"\w+(?=!)", "hey! you there!"),
    re.findall(r"(?<=\$)\d+", "$5 7 $12"),
    re.findall(r"(?<!un)happy", "happy unhappy"),
    re.search(r"<(.+?)>", "<a><b>")[1],
    re.search(r"<(.+)>", "<a><b>")[1],
)
print(
    re.findall(r"\b(\w+) \1\b", "the the end end of"),
    bool(re.match(r"(<)?\w+(?(1)>|$)", "<a")),
    re.match(r"a*+b", "aaab"),
    re.match(r"(?>a+)ab", "aaab"),
    re.match(r"\d{2,3}?", "12345")[0],
)
print(
    re.findall(r"(?i:a)b", "Ab aB ab"),
    re.match(r"(?P<q>['\"]).*?(?P=q)", "'it' 'x'")[0],
    re.sub(r"(\d)(?=(\d{3})+$)", r"\1,", "1234567"),
)
