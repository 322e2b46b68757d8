# A file that is not there is a FileNotFoundError with its name.
try:
    open("no/such/file.txt")
except FileNotFoundError as error:
    print(error.filename, error.strerror, isinstance(error, OSError))
open("missing.csv")
