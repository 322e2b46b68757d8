"""
What one policy allows and another does not, place by place.
"""

import pytest

from policy.compare import compare

WORK = "{mount: /work, source: scratch, access: read-write}"
INNER = "{mount: /work/in, source: scratch, access: read-write}"
HOST = "{mount: /data, source: /srv/a, access: read}"
MOVED = "{mount: /data, source: /srv/b, access: read}"
UNSEATED = "may be renamed and replaced, as no mount point"


def files(*grants: str) -> str:
    return "filesystem:\n" + "".join(f"  - {one}\n" for one in grants)


@pytest.mark.parametrize(
    ("old", "new", "looser", "tighter"),
    [
        ((WORK, INNER), (WORK,), [("/work/in", UNSEATED)], []),
        ((WORK, INNER), (WORK, INNER), [], []),
        ((HOST,), (HOST,), [], []),
        ((HOST,), (MOVED,), [("/data", "read of /srv/b")], [("/data", "read of /srv/a")]),
        ((HOST,), (), [], [("/data", "read of /srv/a")]),
        ((), (HOST,), [("/data", "read of /srv/a")], []),
        ((), (WORK,), [("/work", "read-write of memory of the session")], []),
        ((WORK,), (), [], [("/work", "read-write of memory of the session")]),
    ],
)
def test_a_mount_is_gained_lost_moved_or_unseated(policy, old, new, looser, tighter):
    before, after = (policy(files(*one) if one else "") for one in (old, new))
    found = compare(before, after)
    assert [(one.place, one.text) for one in found.looser] == looser
    assert [(one.place, one.text) for one in found.tighter] == tighter


@pytest.mark.parametrize(
    ("old", "new", "looser"),
    [
        ("clock: frozen\n", "clock: real\n", [("clock", "real, not frozen")]),
        ("clock: real\n", "clock: frozen\n", []),
        ("clock: frozen\n", "clock: frozen\n", []),
        ("random: {seed: 1}\n", "", [("random", "fresh for every session")]),
        ("", "random: {seed: 1}\n", []),
        ("limits: {cells: 5}\n", "limits: {cells: 5}\n", []),
        ("limits: {cells: 5}\n", "limits: {cells: 6}\n", [("limits.cells", "up to 6, not 5")]),
        ("limits: {cells: 6}\n", "limits: {cells: 5}\n", []),
        ("image: core\n", "image: [core, math]\n", [("image", "math")]),
    ],
)
def test_a_key_is_looser_one_way_only(policy, old, new, looser):
    found = compare(policy(old), policy(new))
    assert [(one.place, one.text) for one in found.looser] == looser
    back = compare(policy(new), policy(old))
    assert [(one.place, one.text) for one in back.tighter] == looser
