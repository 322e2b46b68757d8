# A broken pattern says what and where.
import re

try:
    re.compile(r"(a|b")
except re.error as error:
    print(error, error.pos, error.pattern)
try:
    re.compile("a**")
except re.error as error:
    print(error.msg, error.lineno, error.colno)
re.compile(r"(?P<n>a)(?P<n>b)")
