# bytearray changes in place, and a memoryview is a window on it.
data = bytearray(b"hello world")
view = memoryview(data)
view[:5] = b"HELLO"
data2 = bytes(view[6:])
print(data, data2, view[0], len(view), view.readonly, view[::-2].tobytes())
words = memoryview(bytearray(8)).cast("I")
words[0] = 0x01020304
print(words.tolist(), words.itemsize, bytes(words)[:4])
data.append(33)
