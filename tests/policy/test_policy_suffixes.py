"""
A wildcard over a registry's names is refused, one over a hosting service's is doubted.
"""

import pytest

from policy.doubts import doubts
from policy.errors import PolicyError
from policy.suffixes import is_hosting, is_registry


def network(policy, host):
    return policy(f'network: [{{host: "{host}"}}]\n')


@pytest.mark.parametrize("base", ["co.uk", "com.au", "gov.uk", "ac.jp", "com.br"])
def test_a_wildcard_over_a_registry_is_refused_and_one_below_it_is_not(policy, base):
    with pytest.raises(PolicyError, match=f"names below {base} are given out by a registry"):
        network(policy, f"*.{base}")
    for host in (f"*.example.{base}", f"example.{base}", base):
        one = network(policy, host)
        assert (one.network[0].host, doubts(one)) == (host, ())


@pytest.mark.parametrize("base", ["github.io", "s3.amazonaws.com", "workers.dev", "web.app"])
def test_a_wildcard_over_a_service_loads_with_a_doubt(policy, base):
    (doubt,) = doubts(network(policy, f"*.{base}"))
    assert doubt.message == f"network: anybody can have a name below {base}"
    assert doubts(network(policy, f"*.me.{base}")) == ()


@pytest.mark.parametrize(
    ("name", "registry", "hosting"),
    [
        ("kawasaki.jp", True, True),
        ("city.kawasaki.jp", False, False),
        ("anything.ck", True, True),
        ("www.ck", False, False),
        ("k12.ca.us", True, True),
        ("xn--55qx5d.cn", True, True),
        ("blogspot.com", False, True),
        ("example.com", False, False),
        ("corp.internal", False, False),
        # What the list does not have: a name of a network of one's own, and two services.
        ("internal", False, False),
        ("amazonaws.com", False, True),
        ("windows.net", False, True),
    ],
)
def test_the_list_is_read_with_its_stars_and_exceptions(name, registry, hosting):
    assert (is_registry(name), is_hosting(name)) == (registry, hosting)
