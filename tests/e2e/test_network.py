"""
What an agent does with a network: real libraries in a real guest, a real HTTPS server under rules
for methods and paths, with a credential that the server sees and the guest does not.
"""

import json

import psutil
import pytest

from executor.audit.record import Event
from tests.e2e.serving import needs_image
from tests.security.connected import SECRET, world

pytestmark = [pytest.mark.image, needs_image]

# In each of them `ask(method, url)` gives (status, text), or raises what the library raises.
CLIENTS = {
    "http.client": """
import http.client, urllib.parse
def ask(method, url):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(parts.netloc, timeout=20)
    connection.request(method, parts.path, body=b"{}" if method == "POST" else None)
    with connection.getresponse() as response:
        return response.status, response.read().decode()
""",
    "urllib.request": """
import urllib.request
def ask(method, url):
    body = b"{}" if method == "POST" else None
    request = urllib.request.Request(url, data=body, method=method)
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.status, response.read().decode()
""",
    "requests": """
import requests
session = requests.Session()
def ask(method, url):
    response = session.request(method, url, data=b"{}" if method == "POST" else None, timeout=20)
    return response.status_code, response.text
""",
    "httpx": """
import httpx
client = httpx.Client(timeout=20)
def ask(method, url):
    response = client.request(method, url, content=b"{}" if method == "POST" else None)
    return response.status_code, response.text
""",
    "httpx.AsyncClient": """
import asyncio, httpx
async def asked(method, url):
    async with httpx.AsyncClient(timeout=20) as client:
        response = await client.request(method, url, content=b"{}" if method == "POST" else None)
        return response.status_code, response.text
def ask(method, url):
    return asyncio.run(asked(method, url))
""",
    "aiohttp": """
import aiohttp, asyncio
async def asked(method, url):
    async with aiohttp.ClientSession() as session:
        # Else it asks a second time when it is refused, and the record has two denials.
        session._retry_connection = False
        body = b"{}" if method == "POST" else None
        async with session.request(method, url, data=body) as response:
            return response.status, await response.text()
def ask(method, url):
    return asyncio.run(asked(method, url))
""",
    "asyncio streams": """
import asyncio, urllib.parse
async def asked(method, url):
    parts = urllib.parse.urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=True)
    body = "{}" if method == "POST" else ""
    head = f"{method} {parts.path} HTTP/1.1\\r\\nHost: {parts.netloc}\\r\\nConnection: close\\r\\n"
    writer.write(f"{head}Content-Length: {len(body)}\\r\\n\\r\\n{body}".encode())
    said = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(said.split()[1]), said.partition("\\r\\n\\r\\n")[2]
def ask(method, url):
    return asyncio.run(asked(method, url))
""",
}
IMAGES = dict.fromkeys(("requests", "httpx", "httpx.AsyncClient", "aiohttp"), "web")
CASES = [
    *((name, IMAGES.get(name, "core")) for name in CLIENTS),
    ("http.client", "data"),
    ("urllib.request", "data"),
]
CELL = """
import json
def told(method, path):
    try:
        return ask(method, URL + path)
    except Exception as error:
        texts = []
        while error is not None:
            texts.append(f"{type(error).__name__}: {error}")
            error = error.__cause__ or error.__context__
        return 0, " | ".join(texts)
"""


@pytest.fixture(scope="module")
def net():
    with world() as made:
        yield made


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} in {case[1]}")
def agent(net, request):
    """
    A session whose cells have `told(method, path)`.
    """
    client, image = request.param
    with net.session(image=image) as session:
        url = f"https://api.test:{net.ports['api']}"
        observation = session.run(f"URL = {url!r}\n{CLIENTS[client]}{CELL}")
        assert observation.ok, observation.text
        yield session


def told(agent, method, path):
    observation = agent.run(f"json.dumps(told({method!r}, {path!r}))")
    assert observation.ok, observation.text
    return json.loads(eval(observation.value))


def test_a_library_calls_the_api_that_the_policy_grants(net, agent):
    """
    Unchanged, as it would on any machine; the server sees the credential, the guest an echo
    without it.
    """
    status, text = told(agent, "GET", "/v1/prices/today")
    assert status == 200, text
    echoed = json.loads(text)
    assert (echoed["method"], echoed["target"]) == ("GET", "/v1/prices/today")
    seen = net.api.seen[-1]
    assert seen.all("Authorization") == [f"Bearer {SECRET}"]
    assert seen.all("Host") == [f"api.test:{net.ports['api']}"]
    assert "canary" not in text
    status, text = told(agent, "POST", "/v1/orders")
    assert status == 200, text
    assert net.api.seen[-1].body == b"{}"


def test_what_no_rule_allows_is_an_exception_that_says_so(net, agent):
    """
    Each denial is one record, with the rule; and the library goes on with what is allowed.
    """
    place = f"https://api.test:{net.ports['api']}"
    for method, path in (("DELETE", "/v1/prices"), ("GET", "/admin"), ("POST", "/v1/prices")):
        count = len(net.api.seen)
        before = net.denials(net.decisions(agent.id))
        status, text = told(agent, method, path)
        assert status == 0
        assert "PermissionError" in text, text
        assert "[policy caller, rule network[0].http]" in text
        assert f"{method} {place}{path}" in text
        assert len(net.api.seen) == count
        denied = net.denials(net.decisions(agent.id))
        assert denied == [*before, (f"{method} {place}{path}", "network[0].http")]
    assert told(agent, "GET", "/v1/prices")[0] == 200


def test_another_host_is_an_exception_that_says_so(net, agent):
    dns = net.dns.packets
    agent.run("URL = 'https://evil.test'")
    status, text = told(agent, "GET", "/v1/prices")
    assert status == 0
    assert "[policy caller, rule network]" in text
    assert net.dns.packets == dns
    ((request, rule),) = set(net.denials(net.decisions(agent.id)))
    assert (request, rule) == ("resolve evil.test", "network")


def test_what_a_library_keeps_to_itself_is_told_with_the_traceback(net):
    """
    httpx's asynchronous client says no more than that it could not connect, or read.
    """
    with net.cage.session("caller", image="web") as session:
        admin = f"https://api.test:{net.ports['api']}/admin"
        for url, rule in (("https://api.test:9/", "network[0]"), (admin, "network[0].http")):
            observation = session.run(
                f"import httpx\nasync with httpx.AsyncClient() as client:\n    await client.get({url!r})"
            )
            assert observation.error.name in {"ConnectError", "ReadError"}
            assert f"(behind it: PermissionError: [Errno 2] [policy caller, rule {rule}]" in (
                observation.text
            )


def test_the_record_tells_the_whole_of_an_allowed_call(net, agent):
    told(agent, "GET", "/v1/prices")
    # What is open when a session ends is aborted: by the next call the first has long ended.
    told(agent, "GET", "/v1/prices")
    agent.close()
    found = net.records(agent.id)
    place = f"api.test:{net.ports['api']}"
    decided = {str(one.request): one for one in reversed(found) if one.event is Event.DECISION}
    outcomes = {one.refers: one for one in found if one.event is Event.OUTCOME}
    asked = decided[f"GET https://{place}/v1/prices"]
    assert asked.rule == "network[0].http[0]"
    answered = outcomes[asked.sequence]
    assert (answered.outcome, dict(answered.detail)["status"]) == ("ok", 200)
    connected = decided[f"connect {place}"]
    assert connected.rule == "network[0]"
    ended = outcomes[connected.sequence]
    assert ended.outcome == "ok"
    detail = dict(ended.detail)
    assert detail["address"] == "127.0.0.1"
    assert ended.size == detail["sent"] + detail["received"] > 0
    assert connected.sequence < asked.sequence < answered.sequence < ended.sequence


def test_a_large_body_goes_both_ways_whole(net):
    """
    Eight megabytes, larger than any buffer on the way.
    """
    with net.session("friend", "web") as session:
        url = f"https://api.test:{net.ports['api']}"
        size = 8 * 2**20
        observation = session.run(
            f"import hashlib, requests\n"
            f"data = bytes(range(256)) * {size // 256}\n"
            f"got = requests.get('{url}/bytes/{size}').content\n"
            f"sent = requests.post('{url}/echo', data=data)\n"
            "len(got), set(got), sent.status_code, sent.json()['body'].encode('latin-1') == data"
        )
        assert observation.value == f"({size}, {{120}}, 200, True)", observation.text


def test_many_requests_at_once_on_one_loop(net):
    with net.session("friend", "web") as session:
        url = f"https://api.test:{net.ports['api']}"
        observation = session.run(
            f"""
import asyncio, httpx
async def all_of_them():
    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        said = await asyncio.gather(*(client.get("{url}/echo/%d" % n) for n in range(60)))
    return [one.json()["target"] for one in said]
targets = asyncio.run(all_of_them())
targets == ["/echo/%d" % n for n in range(60)]
"""
        )
        assert observation.value == "True", observation.text


def test_an_interrupt_ends_a_wait_for_an_answer_and_the_session_goes_on(net):
    with net.session("friend", "web") as session:
        url = f"https://api.test:{net.ports['api']}"
        assert session.run("import requests").ok
        observation = session.run(f"requests.get('{url}/silent')", timeout=2)
        assert observation.error.name == "KeyboardInterrupt", observation.text
        assert session.run(f"requests.get('{url}/echo').status_code").value == "200"


def brokers():
    return {one for one in psutil.Process().children(recursive=True) if is_broker(one)}


def is_broker(process):
    try:
        return "executor.network.broker" in process.cmdline()
    except psutil.NoSuchProcess:  # a worker of a session that is over
        return False


def test_a_broker_that_dies_takes_its_connections_along_and_nothing_else():
    """
    What it moved for them is unknown, so their budgets are spent; other sessions begin anew.
    """
    others = brokers()
    with world() as own, own.session("caller") as session, own.session("caller") as waiting:
        assert session.run("held = connect('plain.test', 'plain')").ok
        assert waiting.run("1").ok
        (broker,) = brokers() - others
        broker.kill()
        observation = session.run("attempt(lambda: held.recv(1))")
        assert "OSError" in observation.value, observation.text
        # It is tried again after a moment.
        program = """
import time
def until(wanted):
    for _ in range(200):
        said = attempt(lambda: get("/v1/x"))
        if wanted(said):
            return said
        time.sleep(0.05)
    return said
"""
        assert session.run(program).ok
        assert waiting.run(program).ok
        told = waiting.run("until(lambda said: said[0] == 'done')[1][:15]")
        assert told.value == "'HTTP/1.1 200 OK'", told.text
        told = session.run("until(lambda said: 'max_bytes' in said[1])")
        assert "max_bytes" in told.value, told.text
