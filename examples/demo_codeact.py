"""
The walkthrough of the CodeAct paper in the process cage: native Python, with pandas and matplotlib.

    python examples/demo_codeact.py [FOLDER]

The client uploads a table of quarterly revenue; the agent's cells group it, compare it with the
year before, mend a mistake by what they see of it, and draw a bar chart that comes back as a
display event and as a file. The last cell tries a program, which no policy here grants. The pictures
are kept in FOLDER, or in a new one.
"""

import os
import pwd
import shutil
import sys
import tempfile
import time
from pathlib import Path

from demo import describe, show_audit, title

import agent_client
from agent_client.embedded import account

HERE = Path(__file__).parent / "revenue"
TABLE = "/work/revenue.csv"
# What the fifth cell saves in the session's own memory.
SAVED = "/work/revenue.png"
# How a server says that its machine cannot hold native code, or not as the policy wants it held.
CANNOT_HOLD = ("CAGE_MISSING", "ISOLATION_TOO_WEAK")


def main():
    pictures = Path(*sys.argv[1:2] or [tempfile.mkdtemp(prefix="codecage-pictures-")])
    pictures.mkdir(parents=True, exist_ok=True)
    try:
        return walk_through(pictures)
    except agent_client.CodecageError as error:
        if error.reason not in CANNOT_HOLD:
            raise
        print(f"The walkthrough in native Python is left out: {error}")
        return 0


def walk_through(pictures):
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        prepare(folder)
        audit = folder / "audit" / "audit.sqlite3"
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="revenue") as session:
                ready = time.perf_counter() - started
                print(f"server and session ready in {ready:.2f} s; {describe(session)}")
                session.put(TABLE, HERE / "revenue.csv")
                print(f"uploaded {TABLE}\n")
                head = run_cells(session, pictures)
                (pictures / "saved.png").write_bytes(session.get(SAVED))
                identity = session.id
        title("the pictures, as files of the host")
        for path in sorted(pictures.glob("*.png")):
            print(f"{path}: {path.stat().st_size:,} bytes")
        title("the audit trail")
        return show_audit(audit, identity, head)


def prepare(folder):
    """A policy and a folder for the record that the server's user may write."""
    folder.chmod(0o755)
    (folder / "audit").mkdir(mode=0o700)
    shutil.copy(HERE / "revenue.yaml", folder)
    if os.getuid() == 0:
        user = pwd.getpwnam(account())
        os.chown(folder / "audit", user.pw_uid, user.pw_gid)


def run_cells(session, pictures):
    for number, path in enumerate(sorted((HERE / "cells").glob("*.py")), 1):
        code = path.read_text()
        title(f"cell {number}")
        print("".join(f"    {line}" for line in code.splitlines(keepends=True)))
        observation = session.run(code)
        print(observation.text)
        for place, shown in enumerate(observation.displays, 1):
            if shown.png is not None:
                shown.save(pictures / f"cell-{number}-{place}.png")
        print(f"[{observation.status.name.lower()}, {observation.duration * 1000:.1f} ms]\n")
    return observation.audit_head


if __name__ == "__main__":
    sys.exit(main())
