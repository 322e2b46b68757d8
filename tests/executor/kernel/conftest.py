from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from host_world import CANARY, MakeWorld, World, grant_of

from executor.kernel.hostfiles import Quota
from executor.kernel.paths import HostTrees
from policy.decide import compile_policy
from policy.types import Policy


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    inside, outside = tmp_path / "granted", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text(CANARY)
    with ExitStack() as cleanup:

        def make(**options: object) -> World:
            grant = grant_of(inside, **options)
            decides = compile_policy(Policy("test", "", "test.yaml", filesystem=(grant,)))
            trees = cleanup.enter_context(HostTrees((grant,)))
            return World(inside, outside, grant, trees, decides, Quota(grant))

        yield make
    assert (outside / "secret").read_text() == CANARY
    assert [path.name for path in outside.iterdir()] == ["secret"]


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()
