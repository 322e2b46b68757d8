"""
The same deeds with granted files in both cages: one output, and one record.

What differs, and why, is in `docs/gated-files.md`: the kernel looks names up before it opens them,
so a denied name is recorded as looked at, by the first denied component of its path.
"""

import pytest

import agent_client
from executor.audit.read import records
from tests.e2e.serving import ACCOUNT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

ALLOWED = """
import os
print(open('/data/a.csv').read(), os.listdir('/data'), os.stat('/data/a.csv').st_size)
print(oct(os.stat('/data/a.csv').st_mode), os.access('/data/a.csv', os.W_OK))
with open('/out/f', 'w') as file: print(file.write('hello'))
os.rename('/out/f', '/out/g')
with open('/out/g', 'a') as file: print(file.write('more'))
os.truncate('/out/g', 3)
os.utime('/out/g', (5, 5))
print(open('/out/g').read(), os.stat('/out/g').st_mtime)
with open('/out/g', 'r+') as file: file.truncate(1)
os.mkdir('/out/new')
os.rmdir('/out/new')
os.remove('/out/g')
"""
DENIED = """
import os
def fill():
    with open('/out/full', 'wb', 0) as file:
        for _ in range(9): file.write(bytes(2**17))
for act in (
    lambda: open('/data/private/x.key'), lambda: open('/data/readme'), lambda: open('/data/n', 'w'),
    lambda: open('/data/a.csv', 'r+'), lambda: os.mkdir('/data/d'), lambda: os.remove('/data/a.csv'),
    lambda: os.rename('/data/a.csv', '/data/b'), lambda: os.rename('/data/a.csv', '/out/b'),
    lambda: os.symlink('a', '/out/s'), lambda: os.chmod('/out/kept', 0o777),
    fill, lambda: os.rmdir('/data'), lambda: os.rename('/out/d', '/out/e'),
):
    try: print(act())
    except OSError as error: print(type(error).__name__)
print(sorted(os.listdir('/out')))
"""

COPIED = """
import os, shutil
os.makedirs('/work/d/e', exist_ok=True)
for name in ('/work/a', '/work/d/e/f'):
    with open(name, 'w') as file: file.write('x')
for copy in (shutil.copyfile, shutil.copy, shutil.copy2):
    print(copy('/work/a', f'/out/{copy.__name__}'))
print(shutil.copytree('/work/d', '/out/tree'), os.listdir('/out/tree/e'))
print(shutil.move('/out/copy', '/out/moved'))
shutil.rmtree('/out/tree')
for act in (
    lambda: os.chmod('/out/moved', 0o600), lambda: os.chmod('/out/moved', 0o755),
    lambda: os.chmod('/out/moved', 0o4644), lambda: os.chmod('/out/d', 0o700),
    lambda: os.chmod('/out/d', 0o1777), lambda: os.chmod('/data/a.csv', 0o644),
    lambda: os.symlink('/out/moved', '/out/link'),
):
    try: print(act())
    except OSError as error: print(error.strerror)
print(oct(os.stat('/out/moved').st_mode))
"""


@pytest.fixture
def cage():
    # Not below pytest's directories, which are closed to other accounts.
    with private_directory() as place:
        audit = place / "audit" / "audit.sqlite3"
        with agent_client.connect(
            policies=populated(place), audit=audit, run_as=ACCOUNT
        ) as connected:
            yield connected, audit


def populated(place):
    """
    What both cages are granted, and the directory of the policy that does it.
    """
    data, out, policies = (place / name for name in ("data", "out", "policies"))
    for made in (data, out, policies, data / "private"):
        made.mkdir()
    for made in (place, out):
        made.chmod(0o777)
    (data / "a.csv").write_bytes(b"1,2")
    (data / "private" / "x.key").write_bytes(b"secret")
    (data / "readme").symlink_to("private/x.key")
    (out / "kept").write_bytes(b"")
    (out / "d").mkdir()
    (policies / "both.yaml").write_text(
        "version: 1\nname: both\ndescription: the same in both cages\n"
        "cage: any\nimage: [core, native-core]\nfilesystem:\n"
        f"  - {{mount: /data, source: {data}, access: read, deny: ['private/**']}}\n"
        f"  - {{mount: /out, source: {out}, access: read-write, quota: 1Mi}}\n"
    )
    return policies


def done(cage, image, code):
    """
    What the cell printed, and the rows of its record: decisions, and what came of them.
    """
    connected, audit = cage
    with connected.session("both", image=image) as session:
        result = session.run(code)
        identity = session.id
    assert result.error is None, result.error
    found = {one.sequence: one for one in records(audit, session=identity, limit=1000)}
    rows = []
    for one in found.values():
        if one.answer is not None:
            rows.append((one.answer.value, one.request, one.rule))
        elif one.refers in found and found[one.refers].answer is not None:
            rows.append(("came", found[one.refers].request, one.outcome, one.size))
    return result.stdout, rows


def test_what_is_allowed_prints_and_records_the_same_in_both_cages(cage):
    wasm, wasm_rows = done(cage, "core", ALLOWED)
    process, process_rows = done(cage, "native-core", ALLOWED)
    assert process == wasm
    # The kernel tells of a close when nobody waits for it any more.
    assert sorted(map(str, process_rows)) == sorted(map(str, wasm_rows))
    assert [row for row in process_rows if row[0] == "allow"] == [
        row for row in wasm_rows if row[0] == "allow"
    ]
    assert len(process_rows) > 20


def test_what_copies_rights_along_may_and_no_right_changes(cage):
    wasm, _ = done(cage, "core", COPIED)
    process, _ = done(cage, "native-core", COPIED)
    never = "permission bits of granted files cannot be changed"
    *copied, kept, run, special, entered, sticky, reading, link, mode = wasm.splitlines()
    assert copied == ["/out/copyfile", "/out/copy", "/out/copy2", "/out/tree ['f']", "/out/moved"]
    assert (kept, entered, run, special, sticky) == ("None", "None", never, never, never)
    assert (reading, link, mode) == (
        never,
        "symbolic links cannot be made in a granted directory",
        "0o100600",
    )
    assert process == wasm


def test_what_is_denied_is_denied_in_both_cages_and_by_the_same_rules(cage):
    wasm, wasm_rows = done(cage, "core", DENIED)
    process, process_rows = done(cage, "native-core", DENIED)
    assert process == wasm
    denied = [
        [(request, rule) for answer, request, rule, *_ in rows if answer == "deny"]
        for rows in (wasm_rows, process_rows)
    ]
    assert {rule for _, rule in denied[0]} == {rule for _, rule in denied[1]}
    looked = {request for request, _ in denied[1] if request.startswith("stat ")}
    assert looked == {"stat /data/private", "stat /data/readme"}
    # Asked of nobody: a mount is not removed, and names do not move between mounts.
    by_the_kernel = ["rename /data/a.csv", "rmdir /data"]
    others = [
        [request for request, _ in one if "private" not in request and "readme" not in request]
        for one in denied
    ]
    assert sorted(others[0]) == sorted(others[1] + by_the_kernel)
