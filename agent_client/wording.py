"""
A cell's observation in the words that a system's models were trained on, or prompted for.

The fixed words are wire formats: a model that was tuned on CodeAct's data has seen these very
lines. What the cell wrote stands between them as in `Observation.text`.
"""

from enum import StrEnum

from agent_client.observation import Cut, Observation, shortened


class Wording(StrEnum):
    """
    Whose words a model is told an observation in.

    PLAIN is `Observation.text`. OPENHANDS is its function-call form without the two lines about
    directory and interpreter, which a client does not know.
    """

    PLAIN = "plain"
    CODEACT = "codeact"
    MINT = "mint"
    M3TOOLEVAL = "m3tooleval"
    SMOLAGENTS = "smolagents"
    OPENHANDS = "openhands"


_SILENT = "[Code executed successfully with no output]"
_SILENT_M3 = "[Executed Successfully with No Output, Did you forget to print?]"


def worded(
    observation: Observation,
    wording: Wording,
    max_chars: int,
    turns_left: int,
    cut: Cut = Cut.MIDDLE,
) -> str:
    """
    An observation for a model; what the cell wrote takes at most `max_chars` (500 or more) of it,
    and loses what `cut` names.
    """
    match wording:
        case Wording.PLAIN:
            return observation.render(max_chars, cut=cut)
        case Wording.CODEACT:
            return f"Execution Output:\n{observation.render(max_chars, _SILENT, cut)}"
        case Wording.MINT:
            return worded_text(observation.render(max_chars, _SILENT, cut), wording, turns_left)
        case Wording.M3TOOLEVAL:
            return observation.render(max_chars, _SILENT_M3, cut)
        case Wording.SMOLAGENTS:
            return _smolagents(observation, max_chars, cut)
        case Wording.OPENHANDS:
            shown = observation.render(max_chars, _SILENT, cut)
            return f"EXECUTION RESULT of [execute_ipython_cell]:\n{shown}"


def worded_text(text: str, wording: Wording, turns_left: int) -> str:
    """
    Something else that a model is told, such as why its reply could not be read.
    """
    if wording is not Wording.MINT:
        return text
    chances = 1 if turns_left else 0
    left = f"You have {turns_left} steps left and {chances} chances to propose solution left."
    last = "\nYou should take the last step to propose a solution." if turns_left == 1 else ""
    return f"Observation:\n{text}\n{left}{last}"


def _smolagents(observation: Observation, max_chars: int, cut: Cut) -> str:
    logs = "".join(text for _, text in observation.chunks)
    shown = [mark for display in observation.displays if (mark := display.mark())]
    if observation.error is None:
        end = f"Last output from code snippet:\n{observation.value}"
    else:
        end = f"Error:\n{observation.error.traceback.rstrip()}"
    said = "\n".join([*([logs.rstrip("\n")] if logs else []), *shown, end])
    marks = observation.marks()
    room = max_chars - sum(len(mark) + 1 for mark in marks)
    return "\n".join(["Observation:\nExecution logs:", shortened(said, room, cut), *marks])
