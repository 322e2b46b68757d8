# A result too large for a float is an OverflowError.
import math

print(math.exp(700) > 1e300, math.exp(-1000))
math.exp(1000)
