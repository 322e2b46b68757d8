# Bit operations, masks and augmented assignment on shared objects.
READ, WRITE, EXEC = 4, 2, 1
mode = READ | WRITE
print(
    mode & WRITE != 0,
    mode ^ READ,
    ~mode,
    mode << 3,
    -17 >> 2,
    bin(mode),
    (mode).bit_length(),
    (255).bit_count(),
)
a = b = [1]
a += [2]
print(b)
a = a + [3]
print(a, b)
t = ([],)
try:
    t[0] += [1]
except TypeError as error:
    print(error, t)
x = 7
x //= 2
x **= 3
x %= 5
x <<= 2
print(x)
