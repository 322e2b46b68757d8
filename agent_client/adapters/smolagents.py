"""
smolagents' agents with a session as what runs their code: what its package calls a PythonExecutor.

The agent's tools and its managed agents stay in this program and are called from the session, as
far as the policy's `tools:` have their names; so an agent may have others although its code is in a
cage. The session is opened with the first code, when all tools and variables are known.
"""

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from agent_client.client import Cage, Session
from agent_client.errors import CodeFailed, InvalidRequest
from agent_client.observation import Observation

_ANSWER = "final_answer"


class SmolagentsExecutor:
    """
    What `CodeAgent(executor=...)` takes: each action of the agent is a cell of one session.

    `policy` and `image` are those of `Cage.session`; `imports` is the list of authorized imports,
    any where it is left out; `timeout` the seconds of one action. Raises InvalidRequest where the
    package smolagents is not installed.
    """

    def __init__(
        self,
        cage: Cage,
        policy: str | None = None,
        *,
        image: str | None = None,
        imports: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        self._cage = cage
        self._policy = policy
        self._image = image
        self._imports = imports
        self._timeout = timeout
        self._output: Callable[..., object] = _imported().CodeOutput
        self._tools: dict[str, Any] = {}
        self._variables: dict[str, Any] = {}
        self._session: Session | None = None
        self.state = {"_print_outputs": ""}
        """What was printed before an action failed: the agent looks for it there."""

    def send_tools(self, tools: Mapping[str, Any]) -> None:
        """
        Take the tools of the agent. Raises InvalidRequest for others once the session is open.
        """
        if self._session is not None and dict(tools) != self._tools:
            raise InvalidRequest(
                "other tools were given to a session that is open; make another executor for them"
            )
        self._tools = dict(tools)

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """
        Take values that the agent's code finds by their names. Once the session is open they have
        to be ones that literals write. Raises InvalidRequest.
        """
        if self._session is None:
            self._variables |= variables
            return
        lines = [f"{name} = {_literal(name, value)}" for name, value in variables.items()]
        if lines:
            self._checked(self._session.run("\n".join(lines)))

    def __call__(self, code_action: str) -> object:
        """
        Run an action: smolagents' CodeOutput of the answer, or of the repr of the action's last
        value. Raises CodeFailed for code that fails, with what the model should know.
        """
        if self._session is None:
            self._session = self._opened()
        seen = self._session.run(code_action, timeout=self._timeout, assigned=True)
        self.state["_print_outputs"] = seen.stdout + seen.stderr
        self._checked(seen)
        answer = self._tools[_ANSWER](seen.final) if seen.is_final else seen.value
        return self._output(
            output=answer, logs=self.state["_print_outputs"], is_final_answer=seen.is_final
        )

    def cleanup(self) -> None:
        """
        Close the session; may be called twice.
        """
        if self._session is not None:
            self._session.close()

    def _opened(self) -> Session:
        return self._cage.session(
            self._policy,
            image=self._image,
            tools=[_function(name, one) for name, one in self._tools.items() if name != _ANSWER],
            variables=self._variables,
            final_answer=_ANSWER in self._tools,
            imports=self._imports,
        )

    def _checked(self, seen: Observation) -> None:
        if not seen.ok:
            said = [seen.error.traceback.rstrip()] if seen.error else []
            raise CodeFailed("\n".join([*said, *seen.marks()]) or seen.status)


def _function(name: str, tool: Any) -> Callable[..., object]:
    """
    A tool or an agent as a function, with the parameters that it tells a model.
    """

    def called(*args: object, **named: object) -> object:
        return tool(*args, **named)

    made: Any = called
    made.__name__ = made.__qualname__ = name
    made.__doc__ = str(getattr(tool, "description", ""))
    told = [_parameter(one, schema) for one, schema in tool.inputs.items()]
    # Those that may be left out stand behind the others, as the language wants it.
    told.sort(key=lambda one: one.default is not inspect.Parameter.empty)
    made.__signature__ = inspect.Signature(
        told, return_annotation=str(getattr(tool, "output_type", "any"))
    )
    return called


def _parameter(name: str, schema: Mapping[str, Any]) -> inspect.Parameter:
    default = None if schema.get("nullable") else inspect.Parameter.empty
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=str(schema.get("type", "any")),
    )


def _literal(name: str, value: object) -> str:
    """
    A value as Python writes it. The values are this program's own.
    """
    written = repr(value)
    try:
        same = name.isidentifier() and ast.literal_eval(written) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise InvalidRequest(
            f"the variable {name!r} came after the session was opened and is no literal; give it "
            "before the first run, or make another executor"
        )
    return written


def _imported() -> Any:
    try:
        return import_module("smolagents.local_python_executor")
    except ImportError:
        raise InvalidRequest(
            "the package smolagents is not installed; install it, or use CodeActLoop, which needs "
            "no package"
        ) from None
