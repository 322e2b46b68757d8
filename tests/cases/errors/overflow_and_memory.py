# Numbers too large for a float or a list.
try:
    float(10**400)
except OverflowError as error:
    print(error)
try:
    [0] * 10**17
except (MemoryError, OverflowError) as error:
    print("too large")
int(float("inf"))
