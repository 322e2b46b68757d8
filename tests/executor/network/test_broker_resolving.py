"""
Names, looked up from a name server that a stranger may own: what counts as an answer.
"""

import asyncio
import errno

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from name_world import naming, records, silent

from executor.network import resolver as module
from executor.network.errors import Ending
from executor.network.nameservers import Names, NameServerUnusable, chosen, of_the_system
from executor.network.resolver import Resolver

A = "a.test. 60 IN A 192.0.2.1"
B = "a.test. 60 IN A 192.0.2.2"
SIX = "a.test. 60 IN AAAA 2001:db8::1"


def look(names: Names, host: str = "a.test", times: int = 1):
    async def run():
        resolver = Resolver(names)
        return [await resolver.addresses(host) for _ in range(times)][-1]

    return asyncio.run(run())


def fails(names: Names, host: str = "a.test") -> str:
    with pytest.raises(Ending) as caught:
        look(names, host)
    assert caught.value.errno == errno.EHOSTUNREACH
    return caught.value.reason


def test_both_kinds_of_addresses_are_found_and_old_ones_come_first():
    with naming(records(SIX, A, B)) as server:
        assert look(chosen([server.place])) == ("192.0.2.1", "192.0.2.2", "2001:db8::1")
        assert sorted(server.asked) == ["a.test. A udp", "a.test. AAAA udp"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [((A,), ("192.0.2.1",)), ((SIX,), ("2001:db8::1",)), ((A, A), ("192.0.2.1",))],
)
def test_one_kind_is_enough(lines, found):
    with naming(records(*lines)) as server:
        assert look(chosen([server.place])) == found


def test_an_alias_is_followed_within_the_answer():
    lines = (
        "a.test. 60 IN CNAME b.test.",
        "b.test. 60 IN CNAME c.test.",
        "c.test. 5 IN A 10.0.0.1",
    )
    with naming(records(*lines)) as server:
        assert look(chosen([server.place])) == ("10.0.0.1",)


def test_addresses_of_another_name_do_not_count():
    with naming(records("b.test. 60 IN A 192.0.2.1")) as server:
        assert fails(chosen([server.place])) == "a.test does not resolve: it has no address"


def test_aliases_in_a_circle_end():
    lines = ("a.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME a.test.")
    with naming(records(*lines)) as server:
        assert fails(chosen([server.place])) == "a.test: no name server answers for it"


def test_a_name_that_is_not_there_is_told_from_one_without_address():
    with naming(records(code=dns.rcode.NXDOMAIN)) as server:
        assert fails(chosen([server.place])) == "a.test does not resolve: there is no such name"
    with naming(records()) as server:
        assert fails(chosen([server.place])) == "a.test does not resolve: it has no address"


def test_at_most_sixteen_addresses_are_taken():
    with naming(records(*(f"a.test. 60 IN A 192.0.2.{n}" for n in range(1, 41)))) as server:
        assert len(look(chosen([server.place]))) == 16


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
def test_a_server_that_fails_is_passed_over_for_the_next(code):
    with naming(records(code=code)) as bad, naming(records(A)) as good:
        assert look(chosen([bad.place, good.place])) == ("192.0.2.1",)
        assert bad.asked


def test_a_server_that_is_not_there_is_passed_over_for_the_next():
    with naming(records(A)) as gone:
        pass
    with naming(records(A)) as good:
        assert look(chosen([gone.place, good.place])) == ("192.0.2.1",)


def test_without_any_answer_the_name_does_not_resolve():
    with naming(records(A)) as gone:
        pass
    assert fails(chosen([gone.place])) == "a.test: no name server answers for it"


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with naming(silent) as server:
        assert fails(chosen([server.place])) == "a.test: no name server answers for it"


def _wrong_number(query):
    answer = bytearray(records(B)(query))
    answer[0] ^= 1
    return bytes(answer)


def _wrong_name(query):
    other = dns.message.make_query("b.test.", query.question[0].rdtype, id=query.id)
    return records("b.test. 60 IN A 192.0.2.2")(other)


def _the_question(query):
    return query.to_wire()


def _garbage(query):
    return b"\xff" * 40


def _cut(query):
    return records(B)(query)[:20]


def _trailing(query):
    return records(B)(query) + b"more"


def _short(query):
    return b"x"


@pytest.mark.parametrize(
    "forged", [_wrong_number, _wrong_name, _the_question, _garbage, _cut, _trailing, _short]
)
def test_what_does_not_answer_the_question_is_as_if_it_had_not_come(forged, monkeypatch):
    """
    Its sender is passed over; nothing of it is believed.
    """
    monkeypatch.setattr(module, "_ONE_QUESTION", 0.5)  # the good one's too
    with naming(forged) as bad, naming(records(A)) as good:
        assert look(chosen([bad.place, good.place])) == ("192.0.2.1",)
        assert bad.asked


def test_a_long_answer_is_fetched_by_tcp():
    with naming(records(flags=dns.flags.TC), records(A)) as server:
        assert look(chosen([server.place])) == ("192.0.2.1",)
        assert "a.test. A tcp" in server.asked


@pytest.mark.parametrize("forged", [_wrong_number, _garbage, silent])
def test_a_forged_answer_by_tcp_does_not_count_either(forged, monkeypatch):
    monkeypatch.setattr(module, "_ONE_QUESTION", 0.2)
    monkeypatch.setattr(module, "_PATIENCE", 1.0)
    with naming(records(flags=dns.flags.TC), forged) as server:
        assert fails(chosen([server.place])) == "a.test: no name server answers for it"


@pytest.mark.parametrize(
    ("ttl", "seconds", "questions"),
    [(60, 59, 2), (60, 61, 4), (0, 0.5, 2), (0, 1.5, 4), (10**6, 299, 2), (10**6, 301, 4)],
)
def test_an_answer_is_kept_for_its_time_within_bounds(ttl, seconds, questions):
    async def run(place):
        now = asyncio.get_running_loop().time()
        clock = [now]
        asyncio.get_running_loop().time = lambda: clock[0]
        resolver = Resolver(chosen([place]))
        await resolver.addresses("a.test")
        clock[0] = now + seconds
        return await resolver.addresses("a.test")

    with naming(records(f"a.test. {ttl} IN A 192.0.2.1")) as server:
        assert asyncio.run(run(server.place)) == ("192.0.2.1",)
        assert len(server.asked) == questions


def test_at_most_256_names_are_remembered():
    async def run(place):
        resolver = Resolver(chosen([place]))
        for number in range(300):
            await resolver.addresses(f"n{number}.test")
        return len(resolver._cache)

    def any_name(query):
        return records(f"{query.question[0].name} 60 IN A 192.0.2.1")(query)

    with naming(any_name) as server:
        assert asyncio.run(run(server.place)) == 256


@pytest.mark.parametrize(
    ("host", "found"),
    [("192.0.2.9", "192.0.2.9"), ("::1", "::1"), ("2001:db8::9", "2001:db8::9")],
)
def test_an_address_is_itself_and_nobody_is_asked(host, found):
    with naming(records(A)) as server:
        assert look(chosen([server.place]), host) == (found,)
        assert server.asked == []


def test_the_hosts_own_list_comes_first(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 a.test A2.test. # mine\n2001:db8::7 a.test\nnonsense x\n\n# c\n")
    settings = tmp_path / "resolv.conf"
    with naming(records(A)) as server:
        settings.write_text("search evil.test\nnameserver 127.0.0.1\noptions ndots:5\n")
        system = of_the_system(settings, hosts)
        assert look(system) == ("192.0.2.7", "2001:db8::7")
        assert look(system, "a2.test") == ("192.0.2.7",)
        assert look(system, "localhost") == ("127.0.0.1", "::1")
        assert server.asked == []


def test_name_servers_that_were_chosen_replace_the_hosts_list():
    with naming(records("localhost. 60 IN A 192.0.2.1")) as server:
        assert look(chosen([server.place]), "localhost") == ("192.0.2.1",)


def test_the_systems_servers_are_read_as_resolv_conf_says(tmp_path):
    settings = tmp_path / "resolv.conf"
    settings.write_text(
        "# a comment\nnameserver 192.0.2.1 ; mine\nnameserver fe80::1%lo\nnameserver bad.name\n"
        "nameserver 2001:db8::1\nnameserver 192.0.2.4\n"
    )
    found = of_the_system(settings, tmp_path / "none").servers
    assert [server.address[:2] for server in found] == [
        ("192.0.2.1", 53),
        ("fe80::1", 53),
        ("2001:db8::1", 53),
    ]
    assert found[1].address[3] > 0


def test_without_settings_it_is_this_hosts_own_server(tmp_path):
    found = of_the_system(tmp_path / "none", tmp_path / "none")
    assert [server.address for server in found.servers] == [("127.0.0.1", 53)]


@pytest.mark.parametrize(
    ("place", "address"),
    [("192.0.2.1:53", ("192.0.2.1", 53)), ("[2001:db8::1]:5353", ("2001:db8::1", 5353, 0, 0))],
)
def test_a_name_server_is_an_address_and_a_port(place, address):
    assert chosen([place]).servers[0].address == address


@pytest.mark.parametrize(
    "place",
    [
        "192.0.2.1",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:53 ",
        "dns.test:53",
        "2001:db8::1:53",
        "[::1",
        "[192.0.2.1.5]:53",
        "999.1.1.1:53",
        "1:2",
        "",
    ],
)
def test_anything_else_is_no_name_server(place):
    with pytest.raises(NameServerUnusable):
        chosen([place])


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test", ".".join(["a" * 60] * 5)])
def test_a_name_that_cannot_be_asked_for_does_not_resolve(host):
    with naming(records(A)) as server:
        assert fails(chosen([server.place]), host) == f"{host} is no name that can be looked up"
        assert server.asked == []


def test_records_of_unknown_kinds_are_passed_over():
    with naming(records(A, "a.test. 60 IN TYPE65280 \\# 4 0a000001")) as server:
        assert look(chosen([server.place])) == ("192.0.2.1",)


def test_the_kinds_that_are_asked_for_are_two():
    assert module._KINDS == (dns.rdatatype.A, dns.rdatatype.AAAA)
