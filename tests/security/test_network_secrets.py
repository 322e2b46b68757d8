"""
N14: a credential goes to its host in its header, and comes back to the guest by no way tried.

What green does not prove: a granted server that encrypts, reverses or splits what it was sent can
still tell it; a credential is safe with the guest only if its server does not give it away.
"""

import contextlib
import errno
import json
import os
from pathlib import Path

import psutil
import pytest

from tests.security.connected import SECRET
from tests.servers import reflecting

pytestmark = pytest.mark.image

WORN = {
    name: dress(SECRET.encode()).decode("latin-1") for name, dress in reflecting.DRESSES.items()
}


def shows(text):
    """
    Whether the text, or what a reader could make of it, holds the secret.
    """
    return any(piece in text for piece in (SECRET, "canary/7f3a", "+Zq9==", *cores()))


def cores():
    """
    Of each dress the middle, which does not depend on what stands around it.
    """
    return [worn[len(worn) // 4 : len(worn) // 4 + 16] for worn in WORN.values()]


def test_n14_the_server_gets_the_credential_and_the_guest_an_echo_without_it(net):
    told, decisions = net.run("attempt(lambda: get('/v1/prices', 'api.test', 'api'))")
    assert told[0] == "done", told
    assert net.api.seen[-1].all("Authorization") == [f"Bearer {SECRET}"]
    assert "Authorization" in told[1]
    assert not shows(told[1])
    assert "*" * 8 in told[1]
    assert net.denials(decisions) == []


def test_n14_the_same_server_without_the_grant_gives_back_what_it_got(net):
    """
    The twin: the servers do reflect, and nobody scrubs what is the guest's own.
    """
    mine = f"Authorization: Bearer {SECRET}\r\n".replace('"', '\\"')
    act = f"get('/reflect/plain', 'plain.test', 'plain', fields={mine!r})"
    told, _ = net.run(f"attempt(lambda: {act})")
    assert "canary/7f3a" in told[1]


@pytest.mark.parametrize("page", ["reflect", "reflect-field"])
@pytest.mark.parametrize("dress", reflecting.DRESSES)
def test_n14_no_dress_of_it_comes_back(net, page, dress):
    told, _ = net.run(f"attempt(lambda: get('/{page}/{dress}', 'api.test', 'api'))", "trusting")
    assert net.api.seen[-1].all("Authorization") == [f"Bearer {SECRET}"]
    assert not shows(told[1]), told


@pytest.mark.parametrize(
    "page",
    ["reflect-name", "reflect-bytewise", "reflect-gzip", "reflect-trailer", "reflect-extension",
     "reflect-informed", "reflect-location", "reflect-range"],
)  # fmt: skip
def test_n14_no_part_of_an_answer_carries_it(net, page):
    told, _ = net.run(f"attempt(lambda: get('/{page}', 'api.test', 'api'))", "trusting")
    assert net.api.seen[-1].all("Authorization") == [f"Bearer {SECRET}"]
    assert not shows(told[1]), told


def test_n14_it_does_not_come_in_ranges(net):
    length = len(f"Bearer {SECRET}")
    program = f"""
parts = []
for place in range({length}):
    said = get("/reflect-range", "api.test", "api", f"Range: bytes={{place}}-{{place}}\\r\\n")
    parts.append(said.partition("\\r\\n\\r\\n")[2])
"""
    told, _ = net.run("''.join(parts)", "trusting", before=program)
    assert not shows(told)
    assert all(seen.all("Range") == [] for seen in net.api.seen[-length:])


@pytest.mark.parametrize("field", ["Authorization", "authorization", "AUTHORIZATION"])
def test_n14_the_guests_own_field_of_that_name_is_dropped(net, field):
    act = f"get('/v1/x', 'api.test', 'api', '{field}: Bearer mine\\r\\n')"
    assert net.run(f"attempt(lambda: {act}[:15])")[0] == ["done", "HTTP/1.1 200 OK"]
    assert net.api.seen[-1].all("Authorization") == [f"Bearer {SECRET}"]


def test_n14_a_nominated_header_is_not_dropped_by_the_guest(net):
    act = "get('/v1/x', 'api.test', 'api', 'Connection: Authorization, X-Api-Key\\r\\n')"
    net.run(f"attempt(lambda: {act})")
    for seen in net.api.seen[-1:]:
        assert seen.all("Authorization") == [f"Bearer {SECRET}"]


def test_n14_a_redirect_to_another_host_takes_no_credential_along(net):
    count = len(net.other.seen)
    to = f"https://other.test:{net.ports['other']}/taken"
    url = f"https://api.test:{net.ports['api']}/redirect/307?to={to}"
    told, _ = net.run(
        "attempt(lambda: requests.get(U).json())",
        "trusting",
        image="web",
        before=f"import requests\nU = {url!r}",
    )
    assert told[0] == "done", told
    (seen,) = net.other.seen[count:]
    assert seen.path == "/taken"
    assert seen.all("Authorization") == []


def test_n14_a_credential_in_a_location_is_gone_before_it_is_followed(net):
    count = len(net.other.seen)
    to = f"https://other.test:{net.ports['other']}/taken"
    url = f"https://api.test:{net.ports['api']}/reflect-location?to={to}"
    net.run(
        "attempt(lambda: requests.get(U).text)",
        "trusting",
        image="web",
        before=f"import requests\nU = {url!r}",
    )
    for seen in net.other.seen[count:]:
        assert not shows(seen.raw.decode("latin-1"))
        assert "canary" not in seen.target


def test_n14_a_request_that_no_rule_allows_carries_none(net):
    count = len(net.api.seen)
    (kind, _), _ = net.run("attempt(lambda: get('/reflect/plain', 'api.test', 'api'))")
    assert kind == "PermissionError"
    assert len(net.api.seen) == count


def test_n14_another_header_of_another_grant(net):
    told, _ = net.run(
        "attempt(lambda: get('/reflect/plain?header=X-Api-Key', 'key.test', 'api'))", "trusting"
    )
    seen = net.api.seen[-1]
    # The certificate names *.test, so this host is reached as itself.
    assert seen.all("X-Api-Key") == [SECRET]
    assert seen.all("Authorization") == []
    assert not shows(told[1])


def test_n14_the_record_and_the_processes_do_not_hold_it(net):
    """
    Neither the store, nor a command line, nor an environment; and only the broker may have read it.
    """
    with net.session() as session:
        session.run("get('/v1/prices', 'api.test', 'api')")
        files = [*net.audit.parent.iterdir()]
        assert not [path for path in files if SECRET.encode() in path.read_bytes()]
        looked = 0
        for process in psutil.Process().children(recursive=True):
            # One that ends meanwhile, of this test or another, holds nothing any more.
            with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
                assert SECRET not in " ".join(process.cmdline())
                assert SECRET not in json.dumps(process.environ())
                looked += 1
        assert looked > 1


def test_n14_the_guest_finds_no_file_and_no_variable_of_it(net):
    folder = str(net.folder / "secrets")
    told, _ = net.run(
        f"[attempt(lambda: open({folder!r} + '/prices-api').read()),"
        f" attempt(lambda: __import__('os').listdir({folder!r})),"
        " dict(__import__('os').environ)]"
    )
    assert [one[0] for one in told[:2]] == ["FileNotFoundError"] * 2
    assert not shows(json.dumps(told[2]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of other processes")
def test_n14_one_process_holds_it_and_no_guest_does(net):
    """
    All the memory of the server and of what it started, looked at while a session is open.
    """
    with net.session() as session:
        session.run("said = get('/v1/prices', 'api.test', 'api')")
        commands = list(commands_that_hold(SECRET.encode()))
    # One for each policy with that secret that had a session of late.
    assert commands
    assert all(b"\0executor.network.broker\0" in command for command in commands), commands


def commands_that_hold(needle):
    """
    Command lines of our processes whose memory holds it; of one that ends meanwhile, none.
    """
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            if holds(process.pid, needle):
                yield command


def holds(pid, needle):
    """
    Whether a page that the process has holds it.
    """
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(open(f"/proc/{pid}/mem", "rb", buffering=0))
        pages = stack.enter_context(open(f"/proc/{pid}/pagemap", "rb", buffering=0))
        return any(
            needle in held(memory.fileno(), size, start)
            for first, last in writable(pid)
            for start, size in present(pages.fileno(), first, last)
        )


def held(memory, size, start):
    try:
        return os.pread(memory, size, start)
    except OSError as error:
        # It has given the pages back since its map was read.
        if error.errno != errno.EIO:
            raise
        return b""


def writable(pid):
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights, *_ = line.split()
        if rights.startswith("rw"):
            first, last = place.split("-")
            yield int(first, 16), int(last, 16)


def present(pages, first, last):
    """
    Runs of pages that are in memory, as (address, bytes): a guest's reserved space is mostly not.
    """
    for start in range(first, last, 4096 * 2**17):
        count = min(2**17, (last - start) // 4096)
        flags = os.pread(pages, count * 8, start // 4096 * 8)
        run = 0
        for place in range(count + 1):
            if place < count and flags[place * 8 + 7] & 0x80:
                run += 1
            elif run:
                yield start + (place - run) * 4096, run * 4096
                run = 0


def test_a_pattern_that_finds_nothing_would_be_seen():
    assert shows(f"x{SECRET}x")
    for worn in WORN.values():
        assert shows(worn), worn
    assert not shows("Bearer " + "*" * len(SECRET))
    ours = bytearray(SECRET.encode())
    assert holds(os.getpid(), bytes(ours))
