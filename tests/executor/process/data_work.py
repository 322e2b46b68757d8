"""
What an agent does with the data stack all day, each a cell that ends with "done".

A cell that asserts what it computes: the same text is run in a box and by plain Python.
"""

WORK: dict[str, str] = {
    "linear algebra": """
import numpy as np
rng = np.random.default_rng(1)
a = rng.normal(size=(120, 120))
u, s, vt = np.linalg.svd(a)
assert np.allclose(u @ np.diag(s) @ vt, a)
assert np.allclose(np.linalg.solve(a, a @ np.ones(120)), 1)
assert np.allclose(np.linalg.inv(a) @ a, np.eye(120))
assert np.allclose(sorted(np.linalg.eigvalsh(a + a.T)), np.linalg.eigvalsh(a + a.T))
""",
    "transforms and optimisation": """
import numpy as np
from scipy import fft, integrate, interpolate, optimize, sparse, stats
wave = np.sin(np.arange(64))
assert np.allclose(fft.ifft(fft.fft(wave)).real, wave)
assert abs(optimize.brentq(lambda x: x * x - 2, 0, 2) ** 2 - 2) < 1e-9
assert abs(integrate.quad(np.sin, 0, np.pi)[0] - 2) < 1e-9
assert abs(optimize.minimize(lambda v: ((v - 3) ** 2).sum(), [0.0, 0.0]).x - 3).max() < 1e-3
assert abs(interpolate.CubicSpline([0, 1, 2], [0, 1, 4])(1.0) - 1) < 1e-9
assert sparse.eye(50).tocsr().dot(np.ones(50)).sum() == 50
assert stats.linregress([1, 2, 3], [2, 4, 6]).slope == 2
""",
    "tables": """
import io
import pandas as pd
frame = pd.DataFrame({"day": pd.date_range("2025-01-01", periods=400), "n": range(400)})
quarters = frame.groupby(frame.day.dt.to_period("Q")).n.sum()
assert quarters.sum() == sum(range(400))
frame.to_csv("table.csv", index=False)
again = pd.read_csv("table.csv", parse_dates=["day"])
assert again.equals(frame)
assert pd.read_json(io.StringIO(frame.to_json())).n.sum() == frame.n.sum()
assert frame.merge(again, on="day").shape == (400, 3)
assert frame.set_index("day").n.resample("ME").mean().size == 14
assert frame.n.rolling(7).mean().dropna().size == 394
""",
    "figures": """
import os
import matplotlib.pyplot as plt
figure, axes = plt.subplots(1, 2)
axes[0].bar(["a", "b"], [1, 2]); axes[1].imshow([[1, 2], [3, 4]])
axes[0].set_title(r"$\\alpha_1$")
heads = {"png": b"\\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "jpg": b"\\xff\\xd8"}
for kind, head in heads.items():
    figure.savefig(f"figure.{kind}")
    assert open(f"figure.{kind}", "rb").read(len(head)) == head
    os.remove(f"figure.{kind}")
plt.close(figure)
""",
    "pictures": """
from PIL import Image, ImageDraw
picture = Image.new("RGB", (80, 60), "white")
ImageDraw.Draw(picture).ellipse((5, 5, 40, 40), fill="red")
for kind in ("png", "jpeg", "gif", "bmp", "webp"):
    picture.resize((40, 30)).save(f"picture.{kind}")
    assert Image.open(f"picture.{kind}").size == (40, 30)
""",
    "arrays in files": """
import numpy as np
np.save("array.npy", np.arange(10**5))
mapped = np.load("array.npy", mmap_mode="r+")
mapped[0] = 7; mapped.flush()
assert np.load("array.npy")[0] == 7
np.savez_compressed("arrays.npz", a=np.eye(3))
assert np.load("arrays.npz")["a"].trace() == 3
np.savetxt("array.txt", np.eye(2)); assert np.loadtxt("array.txt").trace() == 2
""",
    "databases": """
import sqlite3
import pandas as pd
base = sqlite3.connect("base.sqlite")
assert base.execute("pragma journal_mode=wal").fetchone() == ("wal",)
pd.DataFrame({"a": range(100)}).to_sql("t", base)
other = sqlite3.connect("base.sqlite")
with base: base.execute("insert into t values(100, 100)")
assert pd.read_sql("select sum(a) as s from t", other).s[0] == 5050
base.close(); other.close()
""",
    "archives": """
import bz2, gzip, lzma, pathlib, shutil, tarfile, zipfile
pathlib.Path("packed").mkdir(exist_ok=True)
pathlib.Path("packed/a.txt").write_text("a" * 1000)
for kind in ("zip", "tar", "gztar", "bztar", "xztar"):
    made = shutil.make_archive("made", kind, "packed")
    shutil.unpack_archive(made, f"out-{kind}")
    assert pathlib.Path(f"out-{kind}/a.txt").read_text() == "a" * 1000
for one in (gzip, bz2, lzma):
    assert one.decompress(one.compress(b"x" * 100)) == b"x" * 100
""",
    "threads and locks": """
import fcntl, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
with ThreadPoolExecutor(8) as pool:
    sums = list(pool.map(lambda n: float(np.linalg.norm(np.ones((n, n)))), range(1, 40)))
assert np.allclose(sums, range(1, 40))
gate, seen = threading.Barrier(4), []
def work():
    gate.wait(); seen.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
[one.start() for one in threads]; [one.join() for one in threads]
assert len(seen) == 4
with open("locked", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX); fcntl.lockf(file, fcntl.LOCK_EX); fcntl.flock(file, fcntl.LOCK_UN)
""",
    "an event loop": """
import asyncio, socket
async def send(writer):
    writer.write(b"x" * 300_000 + b"\\n")
    await writer.drain()
async def serve():
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    other, answer = await asyncio.open_connection(sock=theirs)
    sent = asyncio.create_task(send(writer))
    line = await other.readexactly(300_001)
    await sent
    answer.write(b"ok\\n"); assert await reader.readline() == b"ok\\n"
    writer.close(); answer.close()
    return len(line)
assert await serve() == 300_001
assert sum(await asyncio.gather(*(asyncio.to_thread(abs, -n) for n in range(5)))) == 10
""",
    "memory": """
import mmap, os, pickle, tempfile
import pandas as pd
with mmap.mmap(-1, 1 << 20) as held:
    held[:3] = b"abc"; held.resize(2 << 20); assert held[:3] == b"abc"
frame = pd.DataFrame({"a": range(1000)})
assert pickle.loads(pickle.dumps(frame, 5)).equals(frame)
frame.to_pickle("frame.pickle"); assert pd.read_pickle("frame.pickle").equals(frame)
with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
    file.write(b"x"); file.flush(); assert os.path.getsize(file.name) == 1 and os.path.isdir(folder)
with tempfile.SpooledTemporaryFile(10) as file: file.write(b"x" * 100)
""",
    "a pool of processes, which is refused": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
for act in (
    lambda: multiprocessing.Process(target=print).start(),
    lambda: ProcessPoolExecutor(1).submit(abs, 1).result(),
):
    try:
        act()
    except (RuntimeError, NotImplementedError) as error:
        assert "one process" in str(error), error
    else:
        raise AssertionError("a process was made")
""",
}
