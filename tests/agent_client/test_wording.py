import pytest
import scripted as scripts

from agent_client import Wording
from agent_client.wording import worded, worded_text

FAILED = "before\n" + scripts.ERROR.traceback.rstrip()
LEFT = "You have 4 steps left and 1 chances to propose solution left."


@pytest.mark.parametrize(
    ("wording", "code", "text"),
    [
        (Wording.PLAIN, "both", "out 1\nerr 1\nout 2\n'v'"),
        (Wording.PLAIN, "pass", "[no output]"),
        (Wording.CODEACT, "both", "Execution Output:\nout 1\nerr 1\nout 2\n'v'"),
        (Wording.CODEACT, "pass", "Execution Output:\n[Code executed successfully with no output]"),
        (Wording.CODEACT, "1/0", f"Execution Output:\n{FAILED}"),
        (Wording.MINT, "2 + 2", f"Observation:\n4\n{LEFT}"),
        (Wording.M3TOOLEVAL, "print('hi')", "hi"),
        (
            Wording.M3TOOLEVAL,
            "pass",
            "[Executed Successfully with No Output, Did you forget to print?]",
        ),
        (
            Wording.SMOLAGENTS,
            "both",
            "Observation:\nExecution logs:\nout 1\nerr 1\nout 2\n"
            "Last output from code snippet:\n'v'",
        ),
        (
            Wording.SMOLAGENTS,
            "pass",
            "Observation:\nExecution logs:\nLast output from code snippet:\nNone",
        ),
        (
            Wording.SMOLAGENTS,
            "1/0",
            "Observation:\nExecution logs:\nbefore\nError:\n" + scripts.ERROR.traceback.rstrip(),
        ),
        (
            Wording.SMOLAGENTS,
            "late",
            "Observation:\nExecution logs:\nhalf\nLast output from code snippet:\nNone\n"
            "[timed out after 10 s; the session's variables are kept]",
        ),
        (Wording.OPENHANDS, "print('hi')", "EXECUTION RESULT of [execute_ipython_cell]:\nhi"),
    ],
)
def test_an_observation_is_told_in_the_words_that_a_model_knows(session, wording, code, text):
    assert worded(session.run(code), wording, 20_000, 4) == text


@pytest.mark.parametrize("wording", Wording)
def test_what_a_cell_wrote_is_bounded_in_all_words(session, wording):
    observation = session.run("a" * 15_000 + "z" * 15_000)
    text = worded(observation, wording, 500, 4)
    assert len(text) <= 500 + 150
    assert " characters cut here ...]" in text


def test_a_smolagents_text_says_what_was_shown_besides(session):
    text = worded(session.run("figures"), Wording.SMOLAGENTS, 20_000, 4)
    assert text.count("[image/png 640x480") == 2


def test_the_last_step_of_mint_is_announced():
    assert worded_text("x", Wording.MINT, 1) == (
        "Observation:\nx\nYou have 1 steps left and 1 chances to propose solution left.\n"
        "You should take the last step to propose a solution."
    )
    assert worded_text("x", Wording.MINT, 0).endswith(
        "0 steps left and 0 chances to propose solution left."
    )
    assert worded_text("x", Wording.CODEACT, 1) == "x"
