# Buffering, flush, and reading while writing.
f = open("log.txt", "w", buffering=1)
f.write("line\npart")
print(repr(open("log.txt").read()))
f.flush()
print(repr(open("log.txt").read()))
f.close()
raw = open("log.txt", "rb", buffering=0)
print(
    raw.read(4),
    type(raw).__name__,
    raw.readall(),
    type(open("log.txt", "rb")).__name__,
    type(open("log.txt")).__name__,
)
raw.close()
with open("a", "w") as a, open("b", "w") as b:
    print("to a", file=a)
    print("to b", file=b, end="")
print(open("a").read() + open("b").read())
