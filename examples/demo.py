"""
The main job from end to end: six cells of an agent, over the real service, under a policy.

    python examples/demo.py

A private server is started on a unix socket, the cells run in the wasm cage, and at the end the
audit trail of the session is printed and verified. Everything is in a temporary folder, because
a server that was started by root gives that up and may then not see root's files.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import agent_client
from agent_client.embedded import account

HERE = Path(__file__).parent / "sales"
# Shorter than the policy's wall time, so that nobody waits for the endless loop.
LAST_CELL_SECONDS = 2.0


def main():
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        audit = prepare(folder, HERE / "analyst.yaml", HERE / "sales.csv", writable=("reports",))
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="analyst") as session:
                describe(session, started)
                head = run_cells(session, HERE / "cells", last_seconds=LAST_CELL_SECONDS)
                identity = session.id
        title("reports/quarters.md, as the host finds it")
        print((folder / "reports" / "quarters.md").read_text())
        title("the audit trail")
        return show_audit(audit, identity, head)


def prepare(folder, policy, *data, writable=()):
    """The agent's world: a policy, its data, and folders that the server's user may write."""
    folder.chmod(0o755)
    (folder / "data").mkdir()
    for source in data:
        shutil.copy(source, folder / "data")
    shutil.copy(policy, folder)
    for part in ("audit", *writable):
        (folder / part).mkdir(mode=0o700)
        if os.getuid() == 0:
            user = pwd.getpwnam(account())
            os.chown(folder / part, user.pw_uid, user.pw_gid)
    return folder / "audit" / "audit.sqlite3"


def describe(session, started):
    ready = time.perf_counter() - started
    about = f"policy {session.policy}, session {session.id[:8]}"
    print(f"server and session ready in {ready:.2f} s; {about}\n")


def run_cells(session, cells, pictures=None, last_seconds=None):
    """Below each cell stands what a model would read next; pictures become files."""
    paths = sorted(cells.glob("*.py"))
    for number, path in enumerate(paths, 1):
        code = path.read_text()
        title(f"cell {number}")
        print("".join(f"    {line}" for line in code.splitlines(keepends=True)))
        observation = session.run(code, timeout=last_seconds if path == paths[-1] else None)
        print(observation.text)
        for place, shown in enumerate(observation.displays, 1):
            if shown.png is not None:
                shown.save(pictures / f"cell-{number}-{place}.png")
        print(f"[{observation.status.name.lower()}, {observation.duration * 1000:.1f} ms]\n")
    return observation.audit_head


def show_pictures(pictures):
    title("the pictures, as files of the host")
    for path in sorted(pictures.glob("*.png")):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print()


def show_audit(audit, identity, head):
    codecage = [sys.executable, "-m", "executor.cli", "audit"]
    where = ["--audit", str(audit)]
    shown = subprocess.run([*codecage, "show", identity, *where], check=False)
    print(flush=True)
    verified = subprocess.run([*codecage, "verify", "--head", str(head), *where], check=False)
    return shown.returncode or verified.returncode


def title(text):
    # Flushed, because the commands that show the audit trail write for themselves.
    print(f"---- {text} " + "-" * max(0, 72 - len(text)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
