# Not a number is not an integer.
import math

print(math.nan != math.nan)
round(float("nan"))
