# A list is no key.
counts = {}
counts[(1, 2)] = "fine"
try:
    {[1]: 2}
except TypeError as error:
    print(type(error).__name__)
hash({})
