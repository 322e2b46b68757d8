# An exception whose __str__ fails is told all the same.
class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")


raise Odd
