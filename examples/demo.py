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
        prepare(folder)
        audit = folder / "audit" / "audit.sqlite3"
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="analyst") as session:
                ready = time.perf_counter() - started
                print(f"server and session ready in {ready:.2f} s; {describe(session)}\n")
                head = run_cells(session)
                identity = session.id
        title("reports/quarters.md, as the host finds it")
        print((folder / "reports" / "quarters.md").read_text())
        title("the audit trail")
        return show_audit(audit, identity, head)


def prepare(folder):
    """The agent's world: a policy, the data, and a folder that the server's user may write."""
    folder.chmod(0o755)
    for part in ("data", "reports"):
        (folder / part).mkdir()
    (folder / "audit").mkdir(mode=0o700)
    shutil.copy(HERE / "sales.csv", folder / "data")
    shutil.copy(HERE / "analyst.yaml", folder)
    if os.getuid() == 0:
        user = pwd.getpwnam(account())
        for part in ("reports", "audit"):
            os.chown(folder / part, user.pw_uid, user.pw_gid)


def describe(session):
    return f"policy {session.policy}, session {session.id[:8]}"


def run_cells(session):
    cells = sorted((HERE / "cells").glob("*.py"))
    for number, path in enumerate(cells, 1):
        code = path.read_text()
        title(f"cell {number}")
        print("".join(f"    {line}" for line in code.splitlines(keepends=True)))
        timeout = LAST_CELL_SECONDS if path == cells[-1] else None
        observation = session.run(code, timeout=timeout)
        print(observation.text)
        print(f"[{observation.status.name.lower()}, {observation.duration * 1000:.1f} ms]\n")
    return observation.audit_head


def show_audit(audit, identity, head):
    codecage = [sys.executable, "-m", "executor.cli", "audit"]
    where = ["--audit", str(audit)]
    shown = subprocess.run([*codecage, "show", identity, *where], check=False)
    print()
    verified = subprocess.run([*codecage, "verify", "--head", str(head), *where], check=False)
    return shown.returncode or verified.returncode


def title(text):
    print(f"---- {text} " + "-" * max(0, 72 - len(text)))


if __name__ == "__main__":
    sys.exit(main())
