"""
Paths that no grant covers, in both cages: one observation, and one record.

What differs, and why, is in `docs/process-cage.md`: below `/usr`, `/proc` and what else a box shows
of the host by itself the kernel answers alone, and links are not followed.
"""

from pathlib import Path

import pytest

import agent_client
from executor.audit.read import records
from tests.e2e.serving import ACCOUNT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

BOTH = ("core", "native-core")
FEW = "limits: {requests: 20}\n"
HEAD = "version: 1\ncage: any\nimage: [core, native-core]\ndescription: a test's\n"
DENIED = """
import os, pathlib
for act in (
    lambda: open('/etc/shadow'), lambda: open(b'/etc/shadow'), lambda: os.open('/etc/shadow', 0),
    lambda: open('/etc/new', 'w'), lambda: open('/srv/x/log', mode='a'), lambda: open('/srv', 'r+b'),
    lambda: pathlib.Path('/newtop').write_text('x'), lambda: pathlib.Path('/srv/f').read_text(),
    lambda: os.open('/srv/f', os.O_RDWR | os.O_CREAT),
    lambda: os.stat('/srv/s'), lambda: os.lstat('/srv/s'), lambda: os.listdir('/srv'),
    lambda: os.path.exists('/srv/e'), lambda: os.path.isdir('/srv/e/'), lambda: list(os.walk('/srv/w')),
    lambda: os.scandir('/srv/d'), lambda: os.readlink('/srv/l'), lambda: os.chdir('/srv/c'),
    lambda: os.mkdir('/newdir'), lambda: os.mkdir('/srv/d'), lambda: os.makedirs('/opt/a/b'),
    lambda: os.rmdir('/srv/d'), lambda: os.remove('/etc/passwd'), lambda: os.unlink('/srv/q'),
    lambda: os.truncate('/srv/t', 3), lambda: os.utime('/srv/u'), lambda: os.chmod('/srv/m', 0o600),
    lambda: os.rename('/srv/a', '/srv/b'), lambda: os.replace('/srv/a', '/srv/b'),
    lambda: open('/data/../etc/group-'), lambda: open('../srv/relative'), lambda: open('//srv//two'),
    lambda: open('/database/a'), lambda: os.listdir('/var'), lambda: os.stat('/root/.ssh/id'),
    lambda: open('/data/new', 'w'), lambda: open('/data/a', 'r+'), lambda: os.remove('/data/a'),
    lambda: os.mkdir('/data/d'), lambda: os.rename('/data/a', '/data/b'), lambda: os.utime('/data/a'),
):
    try: print('no error', act())
    except OSError as error: print(type(error).__name__, error.strerror)
"""
MISSING = """
import importlib.util, os, sys
sys.path.append('/srv/modules')
found = [importlib.util.find_spec('none_of_this_name')]
for path in ('/data/none', '/work/none', '/tmp/none', '/data/a/below'):
    for act in (open, os.stat, os.listdir, os.path.exists):
        try: found.append(act(path))
        except OSError as error: found.append(type(error).__name__)
try: import none_of_this_name
except ImportError as error: found.append(str(error))
print(found)
"""
ASKING = """
import os
for path in ('{there}', '{missing}'):
    for act in (open, os.stat, os.remove, os.listdir):
        try: act(path)
        except OSError as error: print(type(error), error.errno, error.strerror)
"""
LOOPING = """
import os
names = set()
for number in range(60):
    try: open(f'/srv/{number}')
    except OSError as error: names.add((type(error).__name__, str(error).partition(']')[2][:40]))
len(names), sorted(name for name, _ in names)[-1], open('/work/mine', 'w').write('x')
"""


@pytest.fixture(scope="module")
def cage():
    with private_directory() as place:
        data, policies = place / "data", place / "policies"
        for made in (data, policies):
            made.mkdir()
        place.chmod(0o755)
        (data / "a").write_text("content")
        files = f"filesystem: [{{mount: /data, source: {data}, access: read}}]\n"
        for name, more in (("shown", ""), ("told", "disclose: true\n"), ("few", FEW)):
            (policies / f"{name}.yaml").write_text(f"name: {name}\n{HEAD}{files}{more}")
        audit = place / "audit" / "audit.sqlite3"
        with agent_client.connect(policies=policies, audit=audit, run_as=ACCOUNT) as connected:
            yield connected, audit


def done(cage, image, code, policy="shown"):
    """
    What the cell told, and what of it was denied.
    """
    connected, audit = cage
    with connected.session(policy, image=image) as session:
        seen = session.run(code)
        identity = session.id
    rows = [
        (one.request, one.rule, one.detail)
        for one in records(audit, session=identity, limit=1000)
        if one.answer is not None and one.answer.value == "deny"
    ]
    return seen, rows


@pytest.mark.parametrize("policy", ["shown", "told"])
def test_what_no_grant_covers_is_refused_and_recorded_alike_in_both_cages(cage, policy):
    (wasm, wasm_rows), (native, rows) = (done(cage, image, DENIED, policy) for image in BOTH)
    assert wasm.error is None, wasm.error
    assert native.stdout == wasm.stdout
    assert rows == wasm_rows
    assert native.denied == wasm.denied == len(rows) > 40
    read = "reading /etc/shadow is not granted: no grant covers the path"
    assert native.stdout.startswith(f"FileNotFoundError [policy {policy}, rule filesystem] {read}")
    assert ("you may read below /data" in native.stdout) is (policy == "told")


def test_whether_the_host_has_something_there_shows_in_no_answer(cage):
    there, missing = "/etc/shadow", "/etc/n0shad"
    assert (Path(there).exists(), Path(missing).exists()) == (True, False)
    seen, rows = done(cage, "native-core", ASKING.format(there=there, missing=missing))
    told = seen.stdout.splitlines()
    assert len(told) == len(rows) == 8
    assert [line.replace(there, missing) for line in told[:4]] == told[4:]


def test_what_is_missing_where_something_is_granted_is_a_plain_error_and_no_denial(cage):
    seen, rows = done(cage, "native-core", MISSING)
    assert seen.error is None, seen.error
    assert seen.stdout.count("FileNotFoundError") == 9
    assert seen.stdout.count("NotADirectoryError") == 3
    assert "granted" not in seen.stdout
    assert (rows, seen.denied) == ([], 0)


def test_what_a_cell_does_not_catch_says_it_in_its_traceback(cage):
    seen, _ = done(cage, "native-core", "def act():\n    import os\n    os.mkdir('/newdir')\nact()")
    assert seen.error.name == "FileNotFoundError"
    assert seen.error.message.endswith("no grant covers the path: '/newdir'")
    assert [line for line in seen.error.traceback.splitlines() if "File " in line] == [
        '  File "<cell 1>", line 4, in <module>',
        '  File "<cell 1>", line 3, in act',
    ]
    assert "During handling" not in seen.error.traceback


def test_a_guest_that_asks_without_end_spends_its_own_requests_alone(cage):
    (wasm, wasm_rows), (native, rows) = (done(cage, image, LOOPING, "few") for image in BOTH)
    assert native.value == wasm.value == "(2, 'OSError', 1)"
    # As many records as requests; natively one of them says that /data is shown.
    assert rows == wasm_rows[:19]
    assert [request for request, *_ in wasm_rows] == [f"read /srv/{number}" for number in range(20)]
    assert native.denied == wasm.denied == 21


@pytest.mark.parametrize(
    "way",
    [
        "import posix; posix.open('/etc/shadow', 0)",
        "import _io; _io.FileIO('/etc/shadow')",
        "import inspect, os; inspect.unwrap(os.open)('/etc/shadow', 0)",
        "import ctypes; e = ctypes.CDLL(None, use_errno=True).open(b'/etc/shadow', 0)\n"
        "raise OSError(ctypes.get_errno(), 'by itself') if e < 0 else SystemExit",
    ],
)
def test_a_guest_that_does_not_ask_is_refused_as_well_and_told_nothing(cage, way):
    seen, rows = done(cage, "native-core", way)
    assert seen.error.name == "FileNotFoundError"
    assert "granted" not in seen.error.message
    assert rows == []
