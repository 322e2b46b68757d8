# A range longer than the machine's words has no len().
print(range(10**12)[-1])
len(range(2**40))
