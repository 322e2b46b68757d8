# Calling what is not callable, indexing types, and missing parentheses.
text = "a b"
print(text.split) if False else print(callable(text.split))
words = text.split
try:
    words[0]
except TypeError as error:
    print(error)
list = [1, 2]
list("abc")
