"""
An agent keeps books that it cannot spoil: beancount's own check agrees to a commit, or nothing is
written.

    python examples/demo_bookkeeper.py
    CODECAGE_MODEL=gpt-4.1 OPENAI_API_KEY=... python examples/demo_bookkeeper.py

Without CODECAGE_MODEL nobody is asked: the replies are those of examples/bookkeeper/replies. The
agent posts a receipt and forgets the tax, reads what bean-check says, and corrects it; meanwhile a
colleague's session has committed to the same file, so it looks again, and posts once more. The
policy is policy/examples/bookkeeper.yaml; it needs the image native-books, and a host that can hold
the process cage.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from demo import describe, prepare, show_audit, title
from demo_loop import asked, show

import agent_client

HERE = Path(__file__).parent / "bookkeeper"
POLICY = Path(__file__).parent.parent / "policy" / "examples" / "bookkeeper.yaml"
TASK = """\
/receipts/2026-02-05.txt is a receipt that was paid from Assets:Bank. Post it to the books, which \
are beancount's: the postings of February are in /ledger/entries/2026-02.beancount. Then call \
codecage.commit(); read what it says where it raises, and put it right. Answer in one sentence."""
COLLEAGUE = """
import codecage
with open("/ledger/entries/2026-02.beancount", "a") as book:
    book.write('''
2026-02-04 * "Schulz" "A shelf"
  Assets:Bank             120.00 EUR
  Income:Sales           -120.00 EUR
''')
codecage.commit()
"""


def main():
    options = arguments()
    model = asked() if os.environ.get("CODECAGE_MODEL") and not options.scripted else scripted()
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        audit = prepare(folder, POLICY, writable=("books", "receipts"))
        lay_out(folder)
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="bookkeeper") as session:
                describe(session, started)
                work(cage, session, model)
                head = session.close()
        title("entries/2026-02.beancount, as the host finds it")
        print((folder / "books" / "entries" / "2026-02.beancount").read_text())
        title("the audit trail")
        return show_audit(audit, session.id, head)


def lay_out(folder):
    """The books and receipts, as the server's user has them."""
    for name in ("books", "receipts"):
        shutil.copytree(HERE / name, folder / name, dirs_exist_ok=True)
        owner = (folder / name).stat()
        for path in (folder / name).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.chown(path, owner.st_uid, owner.st_gid)


def work(cage, session, model):
    """The loop; after its first turn a colleague is quicker."""

    def seen(turn):
        show(turn)
        if turn.number == 1:
            title("a colleague's session")
            with cage.session(policy="bookkeeper") as other:
                print(other.run(COLLEAGUE).text, end="\n\n")

    limits = agent_client.LoopLimits(turns=12, seconds=300, cell_seconds=60)
    loop = agent_client.CodeActLoop(model, session, limits=limits, on_turn=seen)
    try:
        outcome = loop.run(TASK)
    except agent_client.ModelFailed as error:
        sys.exit(f"no reply of {model!r}: {error}")
    title(f"the end: {outcome.ending}")
    print(f"{outcome.answer}\n")


def scripted():
    """A model whose replies are written down."""
    replies = iter(sorted((HERE / "replies").glob("*.md")))
    return lambda messages: next(replies).read_text()


def arguments():
    parser = argparse.ArgumentParser(description="An agent keeps books.")
    parser.add_argument("--scripted", action="store_true", help="ask no model, whatever is set")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
