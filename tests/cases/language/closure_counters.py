# Counters made by one factory keep separate state through nonlocal.
def counter(start=0, step=1):
    value = start

    def advance():
        nonlocal value
        value += step
        return value

    def reset():
        nonlocal value
        value = start

    return advance, reset


one, reset_one = counter()
ten, _ = counter(10, 10)
print([one(), one(), ten(), one(), ten()])
reset_one()
print(one(), ten(), one.__closure__[0].cell_contents, one.__code__.co_freevars)
