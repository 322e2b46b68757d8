# A name that hides a builtin fails far from its cause, and del brings it back.
sum = 10
try:
    sum([1, 2])
except TypeError as error:
    print(error)
del sum
print(sum([1, 2]))
str = "now a string"
str(5)
