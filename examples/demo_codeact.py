"""
The walkthrough of the CodeAct paper in the process cage: native Python, with pandas and matplotlib.

    python examples/demo_codeact.py [FOLDER]

The client uploads a table of quarterly revenue; the agent's cells group it, compare it with the
year before, mend a mistake by what they see of it, and draw a bar chart that comes back as a
display event and as a file. The last cell tries a program, which no policy here grants. The pictures
are kept in FOLDER, or in a new one.
"""

import sys
import tempfile
import time
from pathlib import Path

from demo import describe, prepare, run_cells, show_audit, show_pictures, title

import agent_client

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
        audit = prepare(folder, HERE / "revenue.yaml")
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="revenue") as session:
                describe(session, started)
                session.put(TABLE, HERE / "revenue.csv")
                print(f"uploaded {TABLE}\n")
                head = run_cells(session, HERE / "cells", pictures)
                (pictures / "saved.png").write_bytes(session.get(SAVED))
                identity = session.id
        show_pictures(pictures)
        title("the audit trail")
        return show_audit(audit, identity, head)


if __name__ == "__main__":
    sys.exit(main())
