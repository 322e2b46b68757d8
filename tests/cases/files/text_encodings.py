# Text files keep encodings, newlines and marks.
with open("t", "w", encoding="utf-16") as f:
    f.write("é\n")
print(open("t", "rb").read(), open("t", encoding="utf-16").read())
with open("n", "w", newline="\r\n") as f:
    f.write("a\nb\n")
print(
    open("n", "rb").read(),
    repr(open("n").read()),
    repr(open("n", newline="").read()),
    open("n").newlines,
)
with open("bom", "w", encoding="utf-8-sig") as f:
    f.write("x")
print(
    open("bom", encoding="utf-8").read() == "\ufeffx",
    open("bom", encoding="utf-8-sig").read(),
    open("bom", "rb").read(),
)
open("latin", "wb").write(b"caf\xe9")
print(
    open("latin", encoding="latin-1").read(),
    open("latin", errors="replace").read(),
    open("latin").encoding.lower(),
)
open("latin", encoding="utf-8").read()
