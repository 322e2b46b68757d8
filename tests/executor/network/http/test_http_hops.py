import pytest

from executor.network.http.hops import MAX_REMEMBERED, Hops

BASE = "https://api.example.com/"


def test_a_chain_of_redirects_is_counted_to_its_end():
    hops = Hops()
    for step in range(7):
        assert hops.depth(f"{BASE}{step}") == step
        hops.answered(f"{BASE}{step}", f"/{step + 1}")
    assert hops.depth(f"{BASE}elsewhere") == 0


def test_a_redirect_to_itself_is_counted():
    hops = Hops()
    for step in range(7):
        assert hops.depth(BASE) == step
        hops.answered(BASE, BASE)


def test_a_chain_that_ended_is_forgotten():
    hops = Hops()
    hops.answered(f"{BASE}a", "/b")
    assert hops.depth(f"{BASE}b") == 1
    hops.answered(f"{BASE}b", None)
    assert hops.depth(f"{BASE}b") == 0


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("b", f"{BASE}b"),
        ("//api.example.com/b", f"{BASE}b"),
        ("HTTPS://API.example.com:443/b#part", f"{BASE}b"),
        ("https://api.example.com./b", f"{BASE}b"),
        ("?q=%41", f"{BASE}?q=A"),
        ("/%7Ea", f"{BASE}~a"),
        ("https://api.example.com", BASE),
        ("https://other.example.com:8443/x", "https://other.example.com:8443/x"),
    ],
)
def test_a_redirect_is_known_however_it_is_written(location, url):
    hops = Hops()
    hops.answered(BASE, location)
    assert hops.depth(url) == 1


@pytest.mark.parametrize(
    "location", ["http://api.example.com/b", "https://api.example.com:444/b", "/B", "/b?"[:2] + "c"]
)
def test_another_url_is_another_one(location):
    hops = Hops()
    hops.answered(BASE, location)
    assert hops.depth(f"{BASE}b") == 0


@pytest.mark.parametrize(
    "location",
    ["https://[::1", "https://a:99999/", "file:///etc", "mailto:a", "https://:1", "\xff\0"],
)
def test_a_broken_location_is_survived(location):
    hops = Hops()
    hops.answered(BASE, location)
    assert hops.depth(BASE) == 0


def test_no_more_is_remembered_than_said():
    hops = Hops()
    for step in range(MAX_REMEMBERED + 1):
        hops.answered(BASE, f"/{step}")
    assert hops.depth(f"{BASE}0") == 0
    assert hops.depth(f"{BASE}1") == 1
    assert hops.depth(f"{BASE}{MAX_REMEMBERED}") == 1


def test_what_is_seen_again_is_not_the_oldest():
    hops = Hops()
    for step in (*range(MAX_REMEMBERED), 0, MAX_REMEMBERED):
        hops.answered(BASE, f"/{step}")
    assert hops.depth(f"{BASE}0") == 1
    assert hops.depth(f"{BASE}1") == 0
