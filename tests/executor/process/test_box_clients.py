"""
Libraries in a box that call what is granted: with their own TCP, and their own TLS.
"""

import hashlib

import pytest
from box_net import Scene
from box_servers import BLOB, World, servers


@pytest.fixture(scope="module")
def world():
    with servers() as made:
        yield made


CLIENTS = """
URLS = {urls}
def by_http_client(scheme):
    host, port = URLS[scheme]
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    more = dict(context=CONTEXT) if scheme == "https" else {{}}
    connection = kind(host, port, timeout=20, **more)
    connection.request("GET", "/v1/a")
    with connection.getresponse() as response:
        return response.status, json.load(response)["target"]
def by_urllib(scheme):
    host, port = URLS[scheme]
    context = CONTEXT if scheme == "https" else None
    with urllib.request.urlopen(f"{{scheme}}://{{host}}:{{port}}/v1/a", timeout=20, context=context) as response:
        return response.status, json.load(response)["target"]
def by_requests(scheme):
    host, port = URLS[scheme]
    said = requests.get(f"{{scheme}}://{{host}}:{{port}}/v1/a", timeout=20, verify=PEM)
    return said.status_code, said.json()["target"]
def by_asyncio(scheme):
    async def asked():
        host, port = URLS[scheme]
        reader, writer = await asyncio.open_connection(host, port, ssl=CONTEXT if scheme == "https" else None)
        writer.write(f"GET /v1/a HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\nConnection: close\\r\\n\\r\\n".encode())
        said = (await reader.read(65536)).decode()
        writer.close()
        return int(said.split()[1]), json.loads(said.partition("\\r\\n\\r\\n")[2])["target"]
    return asyncio.run(asked())
CONTEXT = ssl.create_default_context(cadata=CERTIFICATE)
with tempfile.NamedTemporaryFile("w", delete=False) as file:
    file.write(CERTIFICATE)
PEM = file.name
"""


def clients(world: World) -> str:
    urls = {"https": ("api.test", world.api.port), "http": ("plain.test", world.plain.port)}
    return f"CERTIFICATE = {world.pem!r}\n{CLIENTS.format(urls=urls)}"


def test_libraries_call_what_is_granted_in_the_clear_and_over_tls_of_their_own(tmp_path, world):
    """
    Their own TLS checks the server's certificate with an authority that only the guest knows.
    """

    async def scenario(scene: Scene) -> None:
        await scene.run("0", clients(world))
        for client in ("http_client", "urllib", "requests", "asyncio"):
            for scheme in ("http", "https"):
                said = await scene.run(f"attempt(lambda: by_{client}({scheme!r}))")
                assert said == ["done", [200, "/v1/a"]], (client, scheme)
        await scene.run("os.unlink(PEM)")
        await scene.over()
        rows = await scene.rows()
        plain = f"http://plain.test:{world.plain.port}/v1/a"
        assert rows.count((f"GET {plain}", "allow")) == 4
        assert rows.count((f"> GET {plain}", "ok")) == 4
        assert rows.count((f"connect api.test:{world.api.port}", "allow")) == 4
        assert rows.count((f"> connect api.test:{world.api.port}", "ok")) == 4
        assert "deny" not in dict(rows).values()

    world.on(tmp_path, scenario)


def test_a_large_transfer_arrives_unchanged_both_ways(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port, digest = world.stream.port, hashlib.sha256(BLOB).hexdigest()
        before = "def digest(text): return hashlib.sha256(text.encode('latin-1')).hexdigest()"
        assert await scene.run(f"digest(talk('stream.test', {port}, b'b'))", before) == digest
        sent = "b'c' + bytes(range(256)) * 2**16"
        expected = hashlib.sha256(bytes(range(256)) * 2**16).hexdigest()
        assert await scene.run(f"talk('stream.test', {port}, {sent})") == expected
        url = f"https://api.test:{world.api.port}/blob"
        read = (
            f"hashlib.sha256(urllib.request.urlopen({url!r}, context=CONTEXT).read()).hexdigest()"
        )
        assert await scene.run(read, clients(world)) == digest
        await scene.run("os.unlink(PEM)")

    world.on(tmp_path, scenario)
