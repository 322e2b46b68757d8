"""
smolagents' own CodeAgent, as it is installed, with a session of a real server as its executor.

Its model is written down here; all else is the package's: prompts, parsing, memory, tools.
"""

from typing import ClassVar

import pytest
import smolagents
from smolagents.models import ChatMessage, MessageRole

import agent_client
from agent_client import CodeFailed, InvalidRequest, SmolagentsExecutor
from tests.e2e.serving import ACCOUNT, needs_image, private_directory

pytestmark = [pytest.mark.image, needs_image]

POLICY = """version: 1
name: shop
image: core
limits: {requests: 50000}
tools: [{name: orders, max_calls: 100}, {name: helper, max_calls: 3}]
"""


class Scripted(smolagents.Model):
    """
    A model whose replies are written down; `asked` are the messages that it was given.
    """

    def __init__(self, *replies):
        super().__init__(model_id="scripted")
        self.left = list(replies)
        self.asked = []

    def generate(self, messages, **_):
        self.asked.append(messages)
        return ChatMessage(role=MessageRole.ASSISTANT, content=self.left.pop(0))

    def observed(self, turn):
        new = self.asked[turn][len(self.asked[turn - 1]) :]
        return "\n".join(part["text"] for message in new for part in message.content)


class Orders(smolagents.Tool):
    name = "orders"
    description = "The totals of a customer's orders."
    inputs: ClassVar = {
        "customer": {"type": "string", "description": "The name."},
        "most": {"type": "integer", "description": "How many.", "nullable": True},
    }
    output_type = "array"

    def forward(self, customer: str, most: int | None = None) -> list:
        if customer == "nobody":
            raise ValueError("no such customer")
        return [10 * number for number in range(most or 3)]


def code(text):
    return f"Thought: I write code.\n<code>\n{text}\n</code>"


@pytest.fixture(scope="module")
def cage():
    with private_directory() as policies:
        policies.chmod(0o755)
        (policies / "shop.yaml").write_text(POLICY)
        with agent_client.connect(policies=policies, run_as=ACCOUNT) as found:
            yield found


def agent(cage, model, tools=(), **options):
    executor = SmolagentsExecutor(cage, "shop", **options)
    return smolagents.CodeAgent(tools=[*tools], model=model, executor=executor, verbosity_level=0)


def test_must_20_an_agent_of_smolagents_works_in_a_session(cage):
    model = Scripted(
        code("print('so many:', rate)\ntotals = orders('Ann', most=4)"),
        code("import os\nos.system('id')"),
        code("try:\n    orders('nobody')\nexcept ValueError as error:\n    print(error)\nmissing"),
        code("final_answer({'sum': sum(totals), 'pair': (1, 2)})"),
    )
    with agent(cage, model, [Orders()], imports=["math"]) as worker:
        answer = worker.run("Add up.", additional_args={"rate": 3})
    assert answer == {"sum": 60, "pair": (1, 2)}
    assert "so many: 3" in model.observed(1)
    assert "Last output from code snippet:\n[0, 10, 20, 30]" in model.observed(1)
    assert "Import of os is not allowed. Authorized imports are: ['math']" in model.observed(2)
    assert "no such customer" in model.observed(3)
    assert "NameError: name 'missing' is not defined" in model.observed(3)
    assert "shop" not in {one.policy.name for one in cage.sessions()}, "it closes its session"


def test_a_managed_agent_is_called_from_the_session_and_its_calls_are_counted(cage):
    inner = agent(cage, Scripted(code("final_answer('from within')")))
    helper = smolagents.CodeAgent(
        tools=[], model=inner.model, executor=inner.python_executor, verbosity_level=0,
        name="helper", description="Helps.",
    )  # fmt: skip
    model = Scripted(code("said = helper(task='help')\nfinal_answer('from within' in said)"))
    executor = SmolagentsExecutor(cage, "shop")
    outer = smolagents.CodeAgent(
        tools=[], model=model, executor=executor, managed_agents=[helper], verbosity_level=0
    )
    assert outer.run("Ask.") is True
    records = executor._session.audit()
    assert len([one for one in records if one.request.startswith("call helper")]) == 1
    outer.cleanup()
    helper.cleanup()
    inner.cleanup()


def test_an_action_that_is_denied_or_too_slow_fails_with_what_it_printed(cage):
    executor, brief = SmolagentsExecutor(cage), SmolagentsExecutor(cage, timeout=0.5)
    executor.send_tools({"orders": Orders()})
    with pytest.raises(CodeFailed, match="orders is not granted"):
        executor("print('before')\norders('Ann')")
    assert executor.state["_print_outputs"] == "before\n"
    with pytest.raises(CodeFailed, match="timed out after"):
        brief("while True: pass")
    with pytest.raises(CodeFailed, match="NameError"):
        executor("final_answer(1)")
    for one in (executor, executor, brief):
        one.cleanup()


def test_what_comes_after_the_first_action_has_to_be_literal(cage):
    executor = SmolagentsExecutor(cage)
    executor.send_variables({"rate": 1, "data": {1, 2}})
    executor.send_tools({})
    assert executor("rate, data").output == "(1, {1, 2})"
    executor.send_variables({"rate": 2, "text": "'; import os"})
    assert executor("rate, text").output == repr((2, "'; import os"))
    with pytest.raises(InvalidRequest, match="'data' came after"):
        executor.send_variables({"data": object()})
    with pytest.raises(InvalidRequest, match="other tools"):
        executor.send_tools({"orders": Orders()})
    executor.cleanup()


def test_without_the_package_it_is_said(cage, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "smolagents.local_python_executor", None)
    with pytest.raises(InvalidRequest, match="smolagents is not installed"):
        SmolagentsExecutor(cage)
