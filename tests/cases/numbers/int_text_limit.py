# Text of more than 4300 digits is refused.
import sys

print(sys.get_int_max_str_digits(), len(str(10**4299)))
int("1" * 5000)
