# Hashes of numbers are as wide as the machine's words.
import sys

print(hash(2**61 - 1), sys.hash_info.width, sys.maxsize)
