# Positions past the end, of lists, strings and tuples.
for thing in ("ab", (1,), range(3), b"x"):
    try:
        thing[10]
    except IndexError as error:
        print(error)
values = [1, 2, 3]
for i in range(4):
    print(values[i])
