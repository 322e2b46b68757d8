"""
The data stack from end to end: an agent's cells on the image `data`, and its figures coming back.

    python examples/demo_data.py [FOLDER]

The walkthrough of the CodeAct paper on a shop's sales by day: pandas loads them, revenue by quarter
and year on year, and a plot that comes back as a display event and as a file. Below each cell
stands what a model would read next. The pictures are kept in FOLDER, or in a new one.
"""

import sys
import tempfile
import time
from pathlib import Path

from demo import describe, prepare, run_cells, show_audit, show_pictures, title

import agent_client

HERE = Path(__file__).parent / "quarters"
# What the agent's fifth cell saves in its own memory.
SAVED = "/work/quarters.png"


def main():
    pictures = Path(*sys.argv[1:2] or [tempfile.mkdtemp(prefix="codecage-pictures-")])
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        audit = prepare(folder, HERE / "quarters.yaml", HERE / "sales.csv")
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="quarters") as session:
                describe(session, started)
                head = run_cells(session, HERE / "cells", pictures)
                (pictures / "saved.png").write_bytes(session.get(SAVED))
                identity = session.id
        show_pictures(pictures)
        title("the audit trail")
        return show_audit(audit, identity, head)


if __name__ == "__main__":
    sys.exit(main())
