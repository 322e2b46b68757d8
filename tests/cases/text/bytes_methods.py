# bytes have the methods of text, hexadecimal, and integers as items.
b = b"GET /index.html HTTP/1.1\r\n"
method, path, version = b.split()
print(method, path[1:], version.rstrip(b"\r\n"), b[0], b[0:1], list(b[:3]))
print(
    b"\x00\xff".hex("-"),
    bytes.fromhex("de ad BE EF"),
    bytes(3),
    bytes([65, 66]),
    b"%s=%d" % (b"n", 5),
    b"a" in b"cat",
)
print(
    b"abc".find(b"c"),
    b" x ".strip(),
    b"a,b".partition(b","),
    bytes(range(97, 100)).upper(),
    b"\n".join([b"1", b"2"]),
)
b"a" + "b"
