# Tuples, strings and ranges are not assigned to.
for target in ((1, 2), "text", range(3), b"ab", frozenset([1])):
    try:
        target[0] = 5
    except TypeError as error:
        print(error)
name = "ann"
name[0] = "A"
