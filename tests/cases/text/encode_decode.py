# Text becomes bytes and comes back; errors are told or replaced.
s = "naïve café €5 🐍"
for codec in ("utf-8", "utf-16-le", "utf-32-be", "utf-8-sig"):
    raw = s.encode(codec)
    print(codec, len(raw), raw[:6], raw.decode(codec) == s)
print(
    s.encode("ascii", "replace"),
    s.encode("ascii", "xmlcharrefreplace"),
    s.encode("ascii", "backslashreplace"),
    s.encode("latin-1", "ignore"),
)
print(
    b"caf\xe9".decode("latin-1"),
    b"caf\xe9".decode("utf-8", "replace"),
    b"caf\xe9".decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape"),
)
b"caf\xe9!".decode("utf-8")
