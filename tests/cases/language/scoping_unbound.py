# A name assigned later in a function is local from its beginning.
count = 10


def bump():
    print(count)
    count += 1


bump()
