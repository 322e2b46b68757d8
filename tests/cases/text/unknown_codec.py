# A codec that nobody has is a LookupError.
print("text".encode("UTF8"), "text".encode("Latin_1"))
"text".encode("utf-9")
