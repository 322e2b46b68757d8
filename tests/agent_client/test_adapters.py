import json
import pickle
import sys
import traceback
from types import ModuleType

import pytest
from exchanges import (
    KEY,
    TEXT,
    anthropic_error,
    breaking,
    closing,
    completion,
    dripping,
    in_turn,
    message,
    openai_error,
    replying,
    silent,
)

from agent_client import (
    AnthropicMessages,
    CodeActLoop,
    InvalidRequest,
    LiteLLM,
    ModelBusy,
    ModelFailed,
    ModelRefused,
    ModelUnreachable,
    ModelUnreadable,
    OpenAIChat,
    Patience,
    Reply,
)
from agent_client.adapters.endpoint import MAX_ANSWER, Endpoint
from agent_client.adapters.key import Key
from tests.servers.sites import HttpServer

ASKED = [
    {"role": "system", "content": "You write Python."},
    {"role": "user", "content": "2 + 2? \ud800 \N{EURO SIGN}"},
]
ONCE = Patience(timeout=20, retries=0)


@pytest.fixture
def site():
    with HttpServer() as server:
        yield server


def openai(site, page=None, **options):
    site.pages = {"v1": page or replying(completion())}
    options = {"key": KEY, "patience": ONCE, **options}
    return OpenAIChat("gpt-4.1", url=f"http://127.0.0.1:{site.port}/v1", **options)


def anthropic(site, page=None, **options):
    site.pages = {"v1": page or replying(message())}
    options = {"key": KEY, "patience": ONCE, **options}
    return AnthropicMessages("claude-sonnet-4", url=f"http://127.0.0.1:{site.port}", **options)


def failure(model):
    """
    The error of asking, without a trace of the key in anything that a log would show of it.
    """
    with pytest.raises(ModelFailed) as caught:
        model(ASKED)
    shown = "".join(traceback.format_exception(caught.value))
    for text in (shown, str(caught.value), repr(caught.value), repr(model)):
        assert KEY not in text
        assert KEY[:12] not in text
    assert caught.value.__context__ is None
    return caught.value


def waiting(site, page, retries=2, longest=30.0):
    """
    An endpoint that keeps its waits instead of waiting, and those waits.
    """
    site.pages = {"v1": page}
    waits = []
    headers = lambda key: {"Authorization": key.reveal()}  # noqa: E731
    patience = Patience(retries=retries, longest_wait=longest)
    url = f"http://127.0.0.1:{site.port}/v1"
    return Endpoint(url, Key(KEY), headers, patience, sleep=waits.append), waits


def test_a_chat_completion_is_asked_for_as_its_reference_says(site):
    reply = openai(site, options={"temperature": 0})(ASKED)
    assert reply == Reply(TEXT, cut=False, tokens=29)
    (seen,) = site.seen
    assert (seen.method, seen.target) == ("POST", "/v1/chat/completions")
    assert seen.all("Authorization") == [f"Bearer {KEY}"]
    assert seen.all("Content-Type") == ["application/json"]
    assert json.loads(seen.body) == {"model": "gpt-4.1", "messages": ASKED, "temperature": 0}


def test_a_message_of_anthropic_is_asked_for_as_its_reference_says(site):
    reply = anthropic(site)(ASKED)
    assert reply == Reply(TEXT, cut=False, tokens=29)
    (seen,) = site.seen
    assert (seen.method, seen.target) == ("POST", "/v1/messages")
    assert (seen.all("x-api-key"), seen.all("anthropic-version")) == ([KEY], ["2023-06-01"])
    assert seen.all("Authorization") == []
    assert json.loads(seen.body) == {
        "model": "claude-sonnet-4",
        "max_tokens": 4096,
        "system": ASKED[0]["content"],
        "messages": ASKED[1:],
    }


@pytest.mark.parametrize("make", [openai, anthropic])
def test_a_whole_loop_runs_against_an_endpoint(site, session, make):
    whole = completion if make is openai else message
    model = make(site, in_turn(replying(whole()), replying(whole("<solution>4</solution>"))))
    outcome = CodeActLoop(model, session).run("2 + 2?")
    assert (outcome.answer, outcome.tokens) == ("4", 58)
    sent = json.loads(site.seen[1].body)["messages"]
    assert sent[-2:] == [{"role": "assistant", "content": TEXT}, {"role": "user", "content": "4"}]


def test_a_reply_at_the_limit_of_length_is_one_that_was_cut(site):
    assert openai(site, replying(completion(finish="length")))(ASKED).cut
    assert anthropic(site, replying(message(stop="max_tokens")))(ASKED).cut


@pytest.mark.parametrize(
    ("answered", "text"),
    [
        (completion(None), ""),
        (completion(None, refusal="I cannot."), "I cannot."),
        (completion([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        ({"choices": [{"message": {"content": "bare"}}]}, "bare"),
        (completion(f"your key is {KEY}"), "your key is [key]"),
    ],
)
def test_other_forms_of_a_completion_are_read(site, answered, text):
    assert openai(site, replying(answered))(ASKED).text == text


def test_a_word_for_want_of_a_key_is_not_taken_out_of_code(site):
    text = "<execute>EMPTY = 1</execute>"
    assert openai(site, replying(completion(text)), key="EMPTY")(ASKED).text == text
    assert anthropic(site, replying(message(text)), key="EMPTY")(ASKED).text == text
    refusing = replying({"error": "no EMPTY"}, "401 Unauthorized")
    with pytest.raises(ModelRefused, match=r"no \[key\]; check the key"):
        openai(site, refusing, key="EMPTY")(ASKED)


def test_an_endpoint_that_gives_the_key_back_does_not_get_it_into_a_reply(site):
    assert anthropic(site, replying(message(f"it is {KEY}")))(ASKED).text == "it is [key]"


REFUSALS = [
    ("400 Bad Request", openai_error("Unsupported value: 'temperature'", "invalid_request_error", "unsupported_value"), ModelRefused, "answered 400 Bad Request: Unsupported value: 'temperature'"),
    ("401 Unauthorized", openai_error(f"Incorrect API key provided: {KEY}.", "invalid_request_error", "invalid_api_key"), ModelRefused, "Incorrect API key provided: [key].; check the key"),
    ("404 Not Found", openai_error("The model `x` does not exist", "invalid_request_error", "model_not_found"), ModelRefused, "check the address and the model's name"),
    ("429 Too Many Requests", openai_error("Rate limit reached", "tokens", "rate_limit_exceeded"), ModelBusy, "Rate limit reached"),
    ("429 Too Many Requests", openai_error("You exceeded your quota", "insufficient_quota", "insufficient_quota"), ModelRefused, "You exceeded your quota"),
    ("500 Internal Server Error", openai_error("The server had an error", "server_error", None), ModelBusy, "The server had an error"),
    ("529 Overloaded", anthropic_error("overloaded_error", "Overloaded"), ModelBusy, "529 Overloaded: Overloaded"),
    ("401 Unauthorized", anthropic_error("authentication_error", "invalid x-api-key"), ModelRefused, "invalid x-api-key; check the key"),
    ("422 Unprocessable Entity", {"error": "no such field"}, ModelRefused, "no such field"),
    ("422 Unprocessable Entity", {"detail": "not a list"}, ModelRefused, "not a list"),
    ("502 Bad Gateway", b"<html>\n<b>Bad\x1b[2J gateway</b>", ModelBusy, "<html> <b>Bad?[2J gateway</b>"),
    ("400 Bad Request", b"x" * 290 + KEY.encode(), ModelRefused, "x" * 290 + "[key]"),
    ("400 Bad Request", b" " * 1185 + KEY.encode(), ModelRefused, "[key]"),
    ("503 Service Unavailable", b"[" * 100_000, ModelBusy, "[" * 300 + "..."),
    ("307 Temporary Redirect", b"", ModelRefused, "redirects, which is not followed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "said"), REFUSALS)
@pytest.mark.parametrize("make", [openai, anthropic])
def test_a_refusal_is_an_error_that_says_what_the_endpoint_said_and_no_key(site, make, status, body, kind, said):  # fmt: skip
    error = failure(make(site, replying(body, status)))
    assert type(error) is kind
    assert error.status == int(status[:3])
    assert said in str(error)
    assert f"http://127.0.0.1:{site.port}/v1/" in str(error)
    assert len(str(error)) < 500


def test_a_redirect_is_not_followed_since_the_key_would_go_along(site):
    with HttpServer({"v1": replying(completion())}) as elsewhere:
        there = f"http://127.0.0.1:{elsewhere.port}/v1/chat/completions"
        failure(openai(site, replying(b"", "307 Temporary Redirect", Location=there)))
        assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("page", "kind", "said"),
    [
        (replying(b"{not json"), ModelUnreadable, "no JSON object: {not json"),
        (replying(b""), ModelUnreadable, "no JSON object: nothing"),
        (replying(b"[]"), ModelUnreadable, "no JSON object: []"),
        (replying(b"\xff\xfe" + KEY.encode()), ModelUnreadable, "no JSON object"),
        (replying({}), ModelUnreadable, "is not a"),
        (replying({"choices": [], "content": 4}), ModelUnreadable, "is not a"),
        (replying({"choices": [None], "content": [4]}), ModelUnreadable, "is not a"),
        (replying({"choices": [{"message": "text"}], "content": "text"}), ModelUnreadable, "is not a"),
        (breaking, ModelUnreachable, "broke before its answer"),
        (closing, ModelUnreachable, "broke before its answer"),
        (replying(b" " * (MAX_ANSWER + 1)), ModelUnreadable, "more than 16,777,216 bytes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [openai, anthropic])
def test_an_answer_that_is_none_is_an_error(site, make, page, kind, said):
    with pytest.raises(ModelFailed) as caught:
        make(site, page)(ASKED)
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("page", [silent, dripping])
def test_an_endpoint_that_does_not_answer_in_time_is_left_and_not_asked_again(site, page):
    error = failure(openai(site, page, patience=Patience(timeout=0.1, retries=2)))
    assert type(error) is ModelUnreachable
    assert str(error).endswith("did not answer within 0.1 s")
    assert len(site.seen) == 1


def test_where_nobody_listens_is_said(site):
    model = openai(site)
    site.listener.close()
    error = failure(model)
    assert type(error) is ModelUnreachable
    assert "cannot be reached: [Errno 111] Connection refused" in str(error)


BUSY = replying(openai_error("busy", "server_error", None), "503 Service Unavailable")


def limited(after):
    return replying(b"{}", "429 Too Many Requests", Retry_After=after)


def test_a_busy_endpoint_is_asked_again_after_the_time_that_it_says(site):
    endpoint, waits = waiting(site, in_turn(limited("7"), BUSY, replying(completion())))
    assert endpoint.post({"a": 1})["object"] == "chat.completion"
    assert waits == [7.0, 1.0]
    assert {seen.body for seen in site.seen} == {b'{"a": 1}'}


def test_a_busy_endpoint_is_asked_so_often_and_no_more(site):
    endpoint, waits = waiting(site, BUSY, retries=3)
    with pytest.raises(ModelBusy):
        endpoint.post({})
    assert (waits, len(site.seen)) == ([0.5, 1.0, 2.0], 4)


@pytest.mark.parametrize(
    ("after", "seconds"),
    [("31", 31.0), ("inf", float("inf")), ("Wed, 21 Oct 2099 07:28:00 GMT", None)],
)
def test_who_asks_to_wait_too_long_is_not_asked_again_and_the_caller_is_told(site, after, seconds):
    endpoint, waits = waiting(site, limited(after))
    with pytest.raises(ModelBusy) as caught:
        endpoint.post({})
    assert (waits, len(site.seen)) == ([], 1)
    assert caught.value.retry_after == seconds or caught.value.retry_after > 1e9


@pytest.mark.parametrize(
    ("after", "wait"),
    [("-5", 0.0), ("0", 0.0), ("nan", 0.5), ("soon", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_a_wait_that_is_none_is_the_clients_own(site, after, wait):
    endpoint, waits = waiting(site, in_turn(limited(after), replying(completion())))
    endpoint.post({})
    assert waits == [wait]


@pytest.mark.parametrize("page", [replying(b"no"), breaking, replying(b"{}", "400 Bad Request")])
def test_what_is_no_sign_of_too_much_work_is_not_asked_again(site, page):
    endpoint, waits = waiting(site, page)
    with pytest.raises(ModelFailed):
        endpoint.post({})
    assert (waits, len(site.seen)) == ([], 1)


@pytest.mark.parametrize(
    "url",
    ["", "example.com/v1", "ftp://example.com", "https://", "https://u:p@example.com/v1", "https://exa mple.com", "https://example.com/\r\nX: y", "http://[::1", "https://example.com:99999999"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InvalidRequest, match="the endpoint's address has to be"):
        OpenAIChat("m", url=url, key=KEY)


def test_a_key_does_not_leave_the_machine_without_encryption(monkeypatch):
    with pytest.raises(InvalidRequest, match="a key would go to example.com without encryption"):
        OpenAIChat("m", url="http://example.com/v1", key=KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(InvalidRequest, match="a key would go to"):
        OpenAIChat("m", url="http://127.0.0.1.example.com/v1")
    for url in ("http://localhost:1/v1", "http://[::1]:1/v1", "https://example.com/v1"):
        OpenAIChat("m", url=url, key=KEY)
    OpenAIChat("m", url="http://example.com/v1", key="")


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", "sk-\N{EURO SIGN}", f"{KEY}\0"])
def test_a_key_that_no_header_carries_is_refused_without_being_told(key):
    with pytest.raises(InvalidRequest, match="the key has characters") as caught:
        AnthropicMessages("m", key=key)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_environments_key_is_used_where_none_is_given(site, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "other")
    openai(site, key=None)(ASKED)
    anthropic(site, key=None)(ASKED)
    openai(site, key="")(ASKED)
    assert [seen.all("Authorization") for seen in site.seen] == [[f"Bearer {KEY}"], [], []]
    assert site.seen[1].all("x-api-key") == ["other"]


def test_a_models_repr_says_where_it_is_and_no_key(site):
    where = f"http://127.0.0.1:{site.port}/v1"
    assert repr(openai(site)) == f"<OpenAIChat 'gpt-4.1' at {where}/chat/completions>"
    assert repr(anthropic(site)) == f"<AnthropicMessages 'claude-sonnet-4' at {where}/messages>"
    assert repr(OpenAIChat("m", url="https://e.example/v1?k=secret", key=KEY)) == (
        "<OpenAIChat 'm' at https://e.example/v1/chat/completions>"
    )
    assert KEY not in repr(vars(openai(site)))


def test_a_key_is_not_pickled():
    with pytest.raises(TypeError, match="a key is not pickled"):
        pickle.dumps(Key(KEY))


@pytest.mark.parametrize("options", [{"stream": True}, {"n": 2}])
def test_options_under_which_no_single_reply_comes_are_refused(options):
    with pytest.raises(InvalidRequest, match="one whole reply is read"):
        OpenAIChat("m", key=KEY, options=options)


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"timeout": float("inf")}, {"retries": -1}, {"retries": 11}]
)
def test_patience_without_a_bound_is_refused(wrong):
    with pytest.raises(InvalidRequest, match="0 to 10 retries"):
        Patience(**wrong)


class Dumped:
    """
    What the packages return: an object with `model_dump`.
    """

    def __init__(self, data):
        self.model_dump = lambda: data


@pytest.fixture
def package(monkeypatch):
    """
    A package with the names of errors that the three packages have, and a client in it.
    """
    module = ModuleType("llm_package")

    class Failed(Exception):
        def __init__(self, text, status_code=None):
            super().__init__(text)
            self.status_code = status_code

    module.OpenAIError = module.AnthropicError = Failed
    module.LITELLM_EXCEPTION_TYPES = [Failed]
    monkeypatch.setitem(sys.modules, "llm_package", module)
    return module


def client_of(package, outcome):
    class Client:
        def __init__(self):
            self.api_key = KEY
            self.asked = []
            self.chat, self.completions, self.messages = self, self, self

        def create(self, **asked):
            self.asked.append(asked)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    Client.__module__ = "llm_package.client"
    return Client()


def litellm_of(client):
    def completion(**asked):
        return client.create(**asked)

    completion.__module__ = "llm_package.main"
    return completion


def by_package(package, name, outcome):
    client = client_of(package, outcome)
    if name == "openai":
        return client, OpenAIChat("m", client=client)
    if name == "anthropic":
        return client, AnthropicMessages("m", client=client)
    return client, LiteLLM("m", key=KEY, completion=litellm_of(client))


@pytest.mark.parametrize("name", ["openai", "anthropic", "litellm"])
def test_a_packages_client_is_called_with_the_same_words(package, name):
    data = message() if name == "anthropic" else completion()
    client, model = by_package(package, name, Dumped(data))
    assert model(ASKED) == Reply(TEXT, cut=False, tokens=29)
    (asked,) = client.asked
    assert asked["model"] == "m"
    assert asked["messages"] == (ASKED[1:] if name == "anthropic" else ASKED)
    assert asked.get("api_key") == (KEY if name == "litellm" else None)
    assert KEY not in repr(model)


@pytest.mark.parametrize("name", ["openai", "anthropic", "litellm"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ModelRefused), (429, ModelBusy), (500, ModelBusy), (None, ModelUnreachable)],
)
def test_a_packages_error_is_one_of_ours_without_the_key(package, name, status, kind):
    _, model = by_package(package, name, package.OpenAIError(f"no:\n{KEY}", status))
    error = failure(model)
    assert (type(error), error.status, str(error)) == (kind, status, "Failed: no: [key]")


@pytest.mark.parametrize("name", ["openai", "anthropic", "litellm"])
def test_a_mistake_in_a_package_is_not_taken_for_its_endpoints(package, name):
    _, model = by_package(package, name, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        model(ASKED)
    _, model = by_package(package, name, "text")
    with pytest.raises(ModelUnreadable, match="returned str"):
        model(ASKED)


def test_litellm_is_imported_when_it_is_asked_for(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(InvalidRequest, match="the package litellm is not installed"):
        LiteLLM("m")
    package.completion = litellm_of(client_of(package, Dumped(completion())))
    monkeypatch.setitem(sys.modules, "litellm", package)
    assert LiteLLM("m")(ASKED).text == TEXT
    with pytest.raises(InvalidRequest, match="give the key as key="):
        LiteLLM("m", options={"api_key": KEY})
