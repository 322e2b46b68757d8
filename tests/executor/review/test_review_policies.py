"""
A policy explains a decision only where its digest is the one that was recorded.
"""

import os

import pytest
from pages_world import POLICY_TEXT

from executor.audit.review.why import rules_of
from executor.review.policies import Policies
from policy.parse import load


@pytest.fixture
def place(tmp_path):
    (tmp_path / "books.yaml").write_text(POLICY_TEXT)
    return tmp_path


def denial(policy):
    return next(rule for rule in rules_of(policy) if rule.name == "deny[0]")


def test_a_policy_is_found_by_its_digest_and_its_line_is_marked(place):
    digest = load(str(place / "books.yaml")).digest
    policies = Policies(place)
    found = policies.of(digest)
    assert found is not None
    lines = policies.lines(denial(found))
    assert [line.text for line in lines] == POLICY_TEXT.splitlines()
    assert [line.number for line in lines if line.marked] == [8]


def test_another_version_is_not_found_until_its_file_is_there(place):
    before = load(str(place / "books.yaml")).digest
    policies = Policies(place)
    (place / "books.yaml").write_text(POLICY_TEXT.replace("secrets", "keys"))
    after = load(str(place / "books.yaml")).digest
    assert policies.of(before) is None
    assert policies.of(after) is not None
    # Archived under another name it is there again: the digest is over what a policy means.
    (place / "old").mkdir()
    (place / "archive.yaml").write_text(POLICY_TEXT)
    assert policies.of(before) is not None


def test_a_file_that_is_no_policy_hides_no_other(place):
    (place / "broken.yaml").write_text("version: [")
    os.symlink(place / "books.yaml", place / "link.yaml")
    assert Policies(place).of(load(str(place / "books.yaml")).digest) is not None


def test_a_line_that_moved_since_it_was_read_is_not_shown(place):
    policies = Policies(place)
    found = policies.of(load(str(place / "books.yaml")).digest)
    (place / "books.yaml").write_text("# moved\n" + POLICY_TEXT)
    assert policies.lines(denial(found)) == []
    (place / "books.yaml").unlink()
    assert policies.lines(denial(found)) == []


@pytest.mark.parametrize("digest", [None, "", "ab" * 32])
def test_no_digest_and_no_directory_explain_nothing(place, digest):
    assert Policies(place).of(digest) is None
    assert Policies(None).of(load(str(place / "books.yaml")).digest) is None
    assert Policies(place / "absent").of("ab" * 32) is None
