# StringIO and BytesIO are files in memory.
import io

s = io.StringIO("a\nb\n")
print(
    s.readline(), list(s), s.getvalue(), s.seek(0), s.read(1), s.tell(), s.truncate(2), s.getvalue()
)
b = io.BytesIO()
t = io.TextIOWrapper(b, encoding="utf-8", write_through=True)
t.write("é")
print(
    b.getvalue(),
    b.getbuffer().nbytes,
    io.BufferedReader(io.BytesIO(b"abcdef")).peek(3)[:3],
    t.seekable(),
    s.isatty(),
)
r = io.BufferedRandom(io.BytesIO(b"12345"))
r.seek(2)
r.write(b"X")
r.seek(0)
print(
    r.read(),
    io.IncrementalNewlineDecoder(None, True).decode("a\r\nb"),
    io.DEFAULT_BUFFER_SIZE >= 8192,
)
b2 = io.StringIO()
b2.write(b"x")
