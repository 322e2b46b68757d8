from collections.abc import Iterator

import pytest

from executor.images.cache import Cache, default_cache, prepare


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Iterator[Cache]:
    """
    An empty cache of the test's own, which is also the default one while the test runs.
    """
    root = tmp_path / "cache"
    monkeypatch.setenv("CODECAGE_CACHE", str(root))
    made = Cache(root)
    prepare(made)
    assert default_cache() == made
    return made
