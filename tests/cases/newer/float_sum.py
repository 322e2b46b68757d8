# sum of floats is compensated.
# Needs Python 3.12.
print(sum([0.1] * 10), sum([1e16, 1.0, -1e16]))
# Writes:
# 1.0 1.0
