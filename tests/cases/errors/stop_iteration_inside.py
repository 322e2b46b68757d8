# StopIteration inside a generator becomes a RuntimeError.
def firsts(rows):
    for row in rows:
        yield next(iter(row))


list(firsts([[1], []]))
