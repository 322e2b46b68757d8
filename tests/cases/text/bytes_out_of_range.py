# A byte is at most 255.
print(bytes([0, 255]), bytearray(b"ab")[1])
bytes([1, 256])
