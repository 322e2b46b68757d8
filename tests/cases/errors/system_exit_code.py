# sys.exit ends the program with a status.
import sys

print("leaving")
try:
    sys.exit("a message")
except SystemExit as error:
    print(repr(error.code))
sys.exit(3)
