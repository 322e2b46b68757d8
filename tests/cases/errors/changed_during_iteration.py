# A set that changes while it is read is a RuntimeError.
seen = {1, 2, 3}
for value in seen:
    seen.add(value + 10)
