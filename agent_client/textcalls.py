"""
Tool calls that a model writes as text: the forms in which models ask for code to be run by JSON
or by tags, because they were trained to.
"""

import json
import re
from typing import Any

_RUNNERS = {
    "code_interpreter",
    "execute",
    "execute_code",
    "execute_ipython_cell",
    "execute_python",
    "ipython",
    "python",
    "python_interpreter",
    "run",
    "run_code",
    "run_python",
}
_CODE_KEYS = ("code", "source", "script", "input", "cell")
_ARGUMENT_KEYS = ("arguments", "parameters", "input")
_FUNCTION = re.compile(r"\A<function=(?P<name>[^\s<>]*)>")
_PARAMETER = re.compile(r"<parameter=(?P<key>\w+)>(?P<value>.*?)(?:</parameter>|\Z)", re.DOTALL)
_NAME_CHARS = 80


class NotACall(ValueError):
    """
    Why a call cannot be read as code; the text is for the model.
    """


def looks_like_call(text: str) -> bool:
    """
    Whether a reply is one JSON object with the keys of a call, and nothing else.
    """
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return False
    try:
        call = _loaded(stripped)
    except NotACall:
        return False
    return "name" in call and any(key in call for key in _ARGUMENT_KEYS)


def code_of_json(text: str) -> str:
    """
    The code of `{"name": "python", "arguments": {"code": ...}}`; arguments may be JSON in a string.
    """
    call = _loaded(text)
    arguments = next((call[key] for key in _ARGUMENT_KEYS if key in call), None)
    if isinstance(arguments, str):
        arguments = _loaded(arguments)
    return _code(call.get("name"), arguments)


def code_of_function(text: str) -> str:
    """
    The code of `<function=python><parameter=code>...</parameter>`.
    """
    named = _FUNCTION.match(text)
    given = {found["key"]: found["value"] for found in _PARAMETER.finditer(text)}
    return _code(named["name"] if named else None, given)


def _loaded(text: str) -> dict[str, Any]:
    try:
        call = json.loads(text)
    except json.JSONDecodeError as error:
        raise NotACall(
            f"The tool call is not valid JSON ({error.msg}, line {error.lineno} column "
            f"{error.colno}), so nothing was run. {_INSTEAD}"
        ) from None
    except RecursionError:
        raise NotACall(f"The tool call is nested too deeply to be read. {_INSTEAD}") from None
    except ValueError:  # an integer of more digits than Python converts
        raise NotACall(f"The tool call has a number that cannot be read. {_INSTEAD}") from None
    if not isinstance(call, dict):
        raise NotACall(f"The tool call is not a JSON object, so nothing was run. {_INSTEAD}")
    return call


_INSTEAD = "Write plain Python between <execute> and </execute>."


def _code(name: object, arguments: object) -> str:
    if not isinstance(arguments, dict):
        raise NotACall(f"The tool call has no arguments, so nothing was run. {_INSTEAD}")
    found = [arguments[key] for key in _CODE_KEYS if isinstance(arguments.get(key), str)]
    if name in _RUNNERS and found:
        return str(found[0])
    called = str(name)[:_NAME_CHARS]
    if name in _RUNNERS:
        raise NotACall(f"The call of {called} has no 'code', so nothing was run. {_INSTEAD}")
    raise NotACall(
        f"Tools are not called by JSON or tags here, so {called} was not called. Functions are "
        f"called from Python: write {called}(...) between <execute> and </execute>."
    )
