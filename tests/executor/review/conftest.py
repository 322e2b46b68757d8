"""
One store and one server of its pages for the tests that only read.
"""

import pytest
from pages_world import POLICY_TEXT, fill

from tests.reviewing import reviewing


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """
    The pages of a store with a denial, a commit, hostile texts and the policy that decided.
    """
    place = tmp_path_factory.mktemp("pages")
    place.chmod(0o700)
    policies = place / "policies"
    policies.mkdir()
    (policies / "books.yaml").write_text(POLICY_TEXT)
    audit = place / "audit.sqlite3"
    fill(audit, policies / "books.yaml")
    with reviewing(audit, place, "--policies", str(policies)) as review:
        review.audit = audit
        yield review
