# input() has nobody to ask.
try:
    input("name? ")
except EOFError:
    print("nobody")
