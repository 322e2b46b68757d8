# The walrus binds inside loops, conditions and comprehensions.
import io
import re

stream = io.StringIO("a=1\nb=22\n\nbroken\nc=3")
pairs = {}
while line := stream.readline():
    if (found := re.match(r"(\w+)=(\d+)", line)) and (number := int(found[2])) > 1:
        pairs[found[1]] = number
print(pairs, number)
print([y for x in range(6) if (y := x * x) % 2 == 0], y)
print((n := 10) + n, any((bad := w).isdigit() for w in ["a", "7", "b"]), bad)
