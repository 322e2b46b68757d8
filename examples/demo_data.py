"""
The data stack from end to end: an agent's cells on the image `data`, and its figures coming back.

    python examples/demo_data.py [FOLDER]

The walkthrough of the CodeAct paper on a shop's sales by day: pandas loads them, revenue by quarter
and year on year, and a plot that comes back as a display event and as a file. Below each cell
stands what a model would read next. The pictures are kept in FOLDER, or in a new one.
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

HERE = Path(__file__).parent / "quarters"
# What the agent's fifth cell saves in its own memory.
SAVED = "/work/quarters.png"


def main():
    pictures = Path(*sys.argv[1:2] or [tempfile.mkdtemp(prefix="codecage-pictures-")])
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        prepare(folder)
        audit = folder / "audit" / "audit.sqlite3"
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="quarters") as session:
                ready = time.perf_counter() - started
                print(f"server and session ready in {ready:.2f} s; {describe(session)}\n")
                head = run_cells(session, pictures)
                saved = session.get(SAVED)
                identity = session.id
        (pictures / "saved.png").write_bytes(saved)
        title("the pictures, as files of the host")
        for path in sorted(pictures.glob("*.png")):
            print(f"{path}: {path.stat().st_size:,} bytes")
        title("the audit trail")
        return show_audit(audit, identity, head)


def prepare(folder):
    """The agent's world: a policy and the data; the record is in a folder of the server's user."""
    folder.chmod(0o755)
    (folder / "data").mkdir()
    (folder / "audit").mkdir(mode=0o700)
    shutil.copy(HERE / "sales.csv", folder / "data")
    shutil.copy(HERE / "quarters.yaml", folder)
    if os.getuid() == 0:
        user = pwd.getpwnam(account())
        os.chown(folder / "audit", user.pw_uid, user.pw_gid)


def run_cells(session, pictures):
    pictures.mkdir(parents=True, exist_ok=True)
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
