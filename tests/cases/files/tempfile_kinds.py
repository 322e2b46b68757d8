# Temporary files and directories vanish by themselves.
import os
import tempfile

with tempfile.TemporaryDirectory() as d:
    path = os.path.join(d, "x")
    open(path, "w").close()
    print(os.listdir(d))
print(os.path.exists(d))
with tempfile.NamedTemporaryFile("w+", suffix=".csv", prefix="data_") as f:
    f.write("1,2")
    f.flush()
    name = os.path.basename(f.name)
    print(name.startswith("data_"), name.endswith(".csv"), open(f.name).read())
print(os.path.exists(f.name))
with tempfile.SpooledTemporaryFile(max_size=10) as s:
    s.write(b"x" * 20)
    s.seek(0)
    print(len(s.read()))
fd, path = tempfile.mkstemp()
os.close(fd)
print(
    os.path.getsize(path), tempfile.mktemp() != tempfile.mktemp(), tempfile.TemporaryFile().read()
)
