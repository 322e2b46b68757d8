"""
The sales analysis as a loop: a model writes code, sees what came of it, mends it, and answers.

    python examples/demo_loop.py --scripted
    CODECAGE_MODEL=gpt-4.1 OPENAI_API_KEY=... python examples/demo_loop.py
    CODECAGE_MODEL=qwen3 OPENAI_BASE_URL=http://localhost:11434/v1 python examples/demo_loop.py
    CODECAGE_MODEL=claude-sonnet-4-5 CODECAGE_API=anthropic ANTHROPIC_API_KEY=... python examples/demo_loop.py

With --scripted nobody is asked: the replies are those of examples/sales/replies. CODECAGE_API is
openai, the default, anthropic or litellm; OPENAI_BASE_URL and ANTHROPIC_BASE_URL are other
endpoints. --transcript FILE keeps the conversation, and --replay FILE runs one of those again.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from demo import describe, prepare, show_audit, title

import agent_client

HERE = Path(__file__).parent / "sales"
TASK = """\
/data/sales.csv is the export of a shop's orders of 2024 and 2025, with the columns date \
(YYYY-MM-DD), region, product, units and unit_price. Sum the revenue by quarter, compare each \
quarter of 2025 with that of the year before, and find the region that sold most in 2025. Write \
the table to /work/reports/quarters.md. Answer with the quarter that grew most and the best region."""


def main():
    options = arguments()
    model = None if options.replay else scripted() if options.scripted else asked()
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        audit = prepare(folder, HERE / "analyst.yaml", HERE / "sales.csv", writable=("reports",))
        started = time.perf_counter()
        with agent_client.connect(policies=folder, audit=audit) as cage:
            with cage.session(policy="analyst") as session:
                describe(session, started)
                unlike = work(session, model, options)
                head = session.close()
        title("the audit trail")
        return show_audit(audit, session.id, head) or (1 if unlike else 0)


def work(session, model, options):
    """One loop; gives the differences from the transcript that was to be replayed."""
    if options.replay:
        played = agent_client.replay(agent_client.load_transcript(options.replay), session)
        outcome, unlike = played.outcome, played.differences
        for turn in outcome.turns:
            show(turn)
        print(*unlike or ["as in the transcript"], sep="\n")
    else:
        limits = agent_client.LoopLimits(turns=12, seconds=300, cell_seconds=20)
        loop = agent_client.CodeActLoop(model, session, limits=limits, on_turn=show)
        try:
            outcome, unlike = loop.run(TASK), ()
        except agent_client.ModelFailed as error:
            sys.exit(f"no reply of {model!r}: {error}")
    title(f"the end: {outcome.ending}")
    print(f"{outcome.answer}\n")
    if options.transcript:
        agent_client.save_transcript(outcome, options.transcript)
    return unlike


def scripted():
    """A model whose replies are written down."""
    replies = iter(sorted((HERE / "replies").glob("*.md")))
    return lambda messages: next(replies).read_text()


def asked():
    """The model that the environment names."""
    name = os.environ.get("CODECAGE_MODEL")
    if not name:
        sys.exit("set CODECAGE_MODEL, or ask nobody with --scripted")
    match os.environ.get("CODECAGE_API", "openai"):
        case "openai":
            url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
            return agent_client.OpenAIChat(name, url=url)
        case "anthropic":
            url = os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
            return agent_client.AnthropicMessages(name, url=url)
        case "litellm":
            return agent_client.LiteLLM(name)
        case other:
            sys.exit(f"CODECAGE_API is {other}; openai, anthropic and litellm are possible")


def show(turn):
    title(f"turn {turn.number}")
    print(turn.reply.text.rstrip())
    if turn.told:
        print("\n".join(f"    {line}" for line in turn.told.splitlines()))
    print()


def arguments():
    parser = argparse.ArgumentParser(description="The sales analysis as a loop.")
    parser.add_argument("--scripted", action="store_true", help="ask no model")
    parser.add_argument("--transcript", type=Path, help="keep the conversation in this file")
    parser.add_argument("--replay", type=Path, help="run the conversation of this file again")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
