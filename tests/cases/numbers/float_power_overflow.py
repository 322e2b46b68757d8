# A power of floats that is too large says so.
print(10.0**300, 0.0**0, (-2.0) ** 3)
10.0**400
