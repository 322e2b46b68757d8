"""
What box a policy orders: which directories the kernel shows, which are served, and how much of all.

Green does not prove that the kernel keeps what is shown as it is (`tests/executor/process`), nor
that of what is mounted beneath (`tests/e2e`).
"""

import os
from pathlib import Path

import pytest

from executor.children.ordering import order_of
from executor.kernel.errors import SourceUnavailable
from executor.kernel.orders import BoxOrder, ScratchTree, ShownTree
from tests.executor.fakes.harness import policy

READ = "access: read"
DENY = "deny:\n  - {{path: '{}'}}\n"
AFTER = (
    'after: [{{event: "read {}", revoke: [network]}}]\nnetwork: [{{host: a.test, ports: [80]}}]\n'
)
CAGE = "cage: process\nimage: native-core\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir()
    made.chmod(0o755)
    return made


def granting(source: Path | str, grant: str = READ, more: str = "") -> BoxOrder:
    text = f"filesystem:\n  - {{mount: /data, source: {source}, {grant}}}\n{more}"
    return order_of(policy(CAGE + text))


def shown(tree: Path) -> ShownTree:
    found = tree.stat()
    return ShownTree(str(tree), "/data", found.st_dev, found.st_ino)


@pytest.mark.parametrize(
    ("grant", "more", "is_shown"),
    [
        (READ, "", True),
        ("access: read-write, quota: 1Mi", "", False),
        ("access: read, deny: ['*.key']", "", False),
        (READ, DENY.format("/data/private/**"), False),
        (READ, DENY.format("/**/*.key"), False),
        (READ, DENY.format("/other/**"), True),
        (READ, AFTER.format("/data/private/**"), False),
        (READ, AFTER.format("/other/**"), True),
    ],
)
def test_what_the_kernel_alone_can_keep_is_shown_and_the_rest_is_served(
    grant: str, more: str, is_shown: bool, tree: Path
) -> None:
    beside = tree.with_name("beside")
    beside.mkdir()
    other = f"  - {{mount: /other, source: {beside}, access: read-write, quota: 1Mi}}\n"
    order = granting(tree, grant, other + more)
    assert order.shown == ((shown(tree),) if is_shown else ())
    assert order.served == (("/other",) if is_shown else ("/data", "/other"))


@pytest.mark.parametrize(("mode", "is_shown"), [(0o755, True), (0o754, False), (0o751, False)])
def test_what_not_everybody_may_list_is_served(mode: int, is_shown: bool, tree: Path) -> None:
    tree.chmod(mode)
    assert bool(granting(tree).shown) is is_shown


def test_a_link_to_a_granted_directory_is_followed_now_and_in_no_box(tree: Path) -> None:
    link = tree.with_name("link")
    link.symlink_to(tree)
    assert granting(link).shown == (shown(tree),)


def test_a_directory_that_is_not_there_orders_nothing(tree: Path) -> None:
    with pytest.raises(SourceUnavailable, match="/data"):
        granting(tree / "nowhere")


def test_an_order_has_all_that_the_policy_says_and_nothing_more() -> None:
    whole = policy(
        f"{CAGE}filesystem:\n"
        "  - {mount: /scratch, source: scratch, access: read-write, quota: 1Mi}\n"
        "network:\n  - {host: b.test, ports: [443, 80]}\n  - {host: a.test, ports: [80]}\n"
        "process: {fork: true, programs: [/usr/bin/env]}\n"
        "limits: {memory: 64Mi, cpu_time: 2s, cells: 3, scratch: 2Mi, files: 4, open_files: 9,\n"
        "  cpus: 2.29}\n"
    )
    order = order_of(whole)
    assert order == BoxOrder(
        scratch=(
            ScratchTree("/scratch", 2**20, 1000),
            ScratchTree("/work", 2 * 2**20, 16),
        ),
        directory="/work",
        tmp_bytes=2 * 2**20,
        tmp_files=16,
        memory=64 * 2**20,
        cpu_seconds=2 * 3 + 60,
        cpu_percent=229,
        open_files=9 + 16,
        ports=(80, 443),
        names=True,
        fork=True,
        programs=("/usr/bin/env",),
        watched=True,
    )
    assert BoxOrder.unpack(order.pack()) == order
    assert os.fsencode("/usr/bin/env") not in order.without_names().pack()
