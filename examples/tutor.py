"""
A tutor that runs pupils' code: a session for each pupil, strict limits, and feedback.

    python examples/tutor.py --scripted
    CODECAGE_MODEL=gpt-4.1 OPENAI_API_KEY=... python examples/tutor.py

Pupils write a function `median`; some programs are wrong, one never ends, one prints far too much, one
looks for the answers on the disk. Each is run in a session of its own, so that none can spoil
another's, and is tried with a few lists. The tutor then writes what the pupil should hear, and may
run more code in that pupil's session first. With --scripted nobody is asked: the tutor's replies
are those of examples/tutor/replies. The other variables are those of examples/demo_loop.py.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from demo import prepare, show_audit, title
from demo_loop import asked

import agent_client

HERE = Path(__file__).parent / "tutor"
TRIALS = {"[3, 1, 2]": ("2", "2.0"), "[4, 1, 3, 2]": ("2.5",), "[7]": ("7", "7.0")}
SYSTEM = """\
You are a patient tutor of Python. You are shown a pupil's program, and what came of running it. \
You may run code in the pupil's session, where the program's names are defined: write it between \
<execute> and </execute>. Then write to the pupil, between <solution> and </solution>, two or three \
sentences: what is right, what is not, and a hint. Never give the corrected program."""


def main():
    parser = argparse.ArgumentParser(description="A tutor that runs pupils' code.")
    parser.add_argument("--scripted", action="store_true", help="ask no model")
    model = None if parser.parse_args().scripted else asked()
    pupils = sorted((HERE / "pupils").glob("*.txt"))
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        audit = prepare(folder, HERE / "pupil.yaml")
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with ThreadPoolExecutor(4) as several:  # four sessions at a time
                lessons = [*several.map(lambda path: lesson(cage, model, path), pupils)]
        for path, (session, results, outcome) in zip(pupils, lessons, strict=True):
            title(path.stem)
            print(f"{results}\n\n{outcome.answer}\n")
        title("the audit trail of the pupil who looked around")
        return show_audit(audit, lessons[-1][0], lessons[-1][2].head)


class Lesson:
    """What the tutor said to a pupil, and where the record was then."""

    def __init__(self, answer, head):
        self.answer, self.head = answer, head


def lesson(cage, model, path):
    with cage.session("pupil", labels={"pupil": path.stem}) as session:
        results = trials(session, path.read_text())
        if session_is_lost(session):
            return (
                session.id,
                results,
                Lesson("Your program could not be stopped.", session.close()),
            )
        loop = agent_client.CodeActLoop(
            model or scripted(path.stem),
            session,
            system=SYSTEM,
            limits=agent_client.LoopLimits(turns=4, seconds=120, cell_seconds=2),
        )
        task = f"The pupil {path.stem} wrote:\n\n{path.read_text()}\nWhat came of it:\n{results}"
        try:
            outcome = loop.run(task)
        except agent_client.ModelFailed as error:
            sys.exit(f"no reply of the model: {error}")
        return session.id, results, Lesson(outcome.answer, session.close())


def trials(session, program):
    """Run the program, then try its function; a line for each."""
    observation = session.run(program)
    lines = [f"running it: {said(observation)}"]
    if observation.ok:
        for given, expected in TRIALS.items():
            observation = session.run(f"median({given})")
            verdict = "right" if observation.value in expected else f"expected {expected[0]}"
            lines.append(f"median({given}): {said(observation)} ({verdict})")
    return "\n".join(lines)


def said(observation):
    """What a cell came to, in a line; the value is the pupil's word, and so are the rest."""
    if observation.error and observation.status is agent_client.Status.ERROR:
        return f"{observation.error.name}: {observation.error.message}"
    if not observation.ok:
        return observation.marks()[-1]
    cut = " ".join(mark for mark in observation.marks() if "truncated" in mark)
    return " ".join(filter(None, [observation.value or "no value", cut]))


def session_is_lost(session):
    return not session.run("None").ok


def scripted(pupil):
    """A tutor whose replies are written down."""
    replies = iter(sorted((HERE / "replies").glob(f"{pupil}*.md")))
    return lambda messages: next(replies).read_text()


if __name__ == "__main__":
    sys.exit(main())
