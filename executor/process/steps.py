"""
The steps that turn a copy of the zygote into a box, in their order; `jail.py` says why in it.

What a step leaves for a later one is in `Site`. `STEPS` are those of a box with namespaces;
`bare.py` has the list for hosts that have none to give.
"""

import os
import socket
from typing import Final

from executor.linux import loopback
from executor.linux.errors import MechanismFailed, asking
from executor.linux.lock_steps import Step
from executor.process import steps_mounts, steps_process
from executor.process.conversation import LISTENERS, NAMES
from executor.process.plan import GUEST_ID
from executor.process.site import Site

_HOST_NAME = "codecage"
_ANY = "::"
_NAMES_AT = ("127.0.0.1", 53)
_WAITING_CONNECTIONS = 64


def _be_nobody(site: Site) -> None:
    mend = "see that the parent maps the user and that nothing forbids setresuid"
    with asking("identity", f"becoming {GUEST_ID} inside", mend):
        if site.plan.identity is not None:
            os.setgroups([])
        os.setresgid(GUEST_ID, GUEST_ID, GUEST_ID)
        os.setresuid(GUEST_ID, GUEST_ID, GUEST_ID)
    if (os.getresuid(), os.getresgid()) != ((GUEST_ID,) * 3, (GUEST_ID,) * 3):
        raise MechanismFailed("identity", f"not wholly {GUEST_ID}; do not run here")


def _name(_site: Site) -> None:
    with asking("host name", "setting it", "make the box in a uts namespace of its own"):
        socket.sethostname(_HOST_NAME)


def _listen(site: Site) -> None:
    plan = site.plan
    if not plan.network:
        return
    loopback.take()
    if plan.ports:
        made = tuple(_listener(port).detach() for port in plan.ports)
        site.inside.hand(LISTENERS, made)
    if plan.names:
        with asking("names", f"a socket at {_NAMES_AT}", "make it in a namespace of its own"):
            names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            names.bind(_NAMES_AT)
        site.inside.hand(NAMES, (names.detach(),))


def _listener(port: int) -> socket.socket:
    # It takes IPv4 as well, with addresses mapped into IPv6: ipv6(7), IPV6_V6ONLY.
    with asking("listeners", f"one at port {port}", "make it in a namespace of its own"):
        made = socket.socket(socket.AF_INET6)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((_ANY, port))
        made.listen(_WAITING_CONNECTIONS)
    return made


STEPS: Final[tuple[Step[Site], ...]] = (
    Step("signals", "no handler of the zygote runs here", steps_process.reset_signals),
    Step("control group", "what it uses is counted from here on", steps_process.join_group),
    Step("facts", "what the limits start from; needs the host's /proc", steps_process.note_facts),
    Step(
        "personality",
        "or readable pages could be code, and addresses known",
        steps_process.be_plain_linux,
    ),
    Step(
        "oom score",
        "needs /proc; the box goes before its zygote",
        steps_process.be_first_to_be_killed,
    ),
    Step("apart", "nothing that follows may reach the host's mounts", steps_mounts.part_mounts),
    Step(
        "trees", "opened with the zygote's rights, in this mount namespace", steps_mounts.open_trees
    ),
    Step(
        "user", "guest code is nobody of the host; rights inside are kept until later", _be_nobody
    ),
    Step(
        "visible",
        "a change of user hides the process from its parent",
        steps_process.visible_to_parent,
    ),
    Step(
        "parent", "a change of user clears the parent-death signal", steps_process.die_with_parent
    ),
    Step(
        "session",
        "no terminal, and no signals for its process group",
        steps_process.have_own_session,
    ),
    Step("root", "an empty one, in memory", steps_mounts.make_root),
    Step("own places", "what the guest may write", steps_mounts.make_own_places),
    Step(
        "places", "the plan's trees and five devices; some in own places", steps_mounts.attach_trees
    ),
    Step("served", "the mounts that others answer for", steps_mounts.attach_served),
    Step("written files", "names of users and hosts, and links", steps_mounts.write_files),
    Step("enter", "the host's files are gone from here on", steps_mounts.enter_root),
    Step("host name", "the host's is not told", _name),
    Step("listeners", "needs rights over the network; they are handed on, not kept", _listen),
    Step(
        "descriptors",
        "nothing of the zygote stays open; before their number is limited",
        steps_process.keep_descriptors,
    ),
    Step("limits", "hard, so that they stay", steps_process.limit_resources),
    Step("rights", "all capabilities, and every way back to them", steps_process.lose_rights),
    Step("no new privileges", "Landlock and seccomp need it", steps_process.gain_nothing),
    Step("no new code", "data never becomes code", steps_process.make_no_code),
    Step("Landlock", "needs the final root", steps_mounts.grant_reach),
    Step("environment", "the zygote's is not told", steps_process.have_environment),
    Step("seccomp", "forbids all of the above, so it is last", steps_process.confine),
    Step(
        "first process",
        "one that waits for children, held as they are",
        steps_process.leave_first_process,
    ),
    Step("canaries", "a mechanism that does not refuse is none", steps_process.ask_canaries),
)
