# `yield from` delegates to a generator and takes its return value.
def chunk(size):
    lines = []
    while len(lines) < size:
        lines.append((yield))
    return lines


def reader():
    head = yield from chunk(1)
    body = yield from chunk(2)
    return {"head": head, "body": body}


it = reader()
next(it)
try:
    for line in ["id,name", "1,Ann", "2,Bob", "too far"]:
        it.send(line)
except StopIteration as stop:
    print(stop.value)
