"""
As whom the server works: the account that opens granted files, and how it becomes that account.

Started by root it has to be told an account, because it opens what guests ask for, and as root it
could open everything. Root itself is possible for those who write the word, and is recorded.
"""

import os
import pwd
import resource
from dataclasses import dataclass

from executor.errors import CannotStart
from executor.linux import prctl


@dataclass(frozen=True, slots=True)
class Account:
    """
    A user with its primary group; `changes` says that this process is not yet that user.
    """

    name: str
    uid: int
    gid: int
    changes: bool

    @property
    def is_root(self) -> bool:
        """
        Whether granted files are opened as root.
        """
        return self.uid == 0


def account(run_as: str | None) -> Account:
    """
    The account to work as: `run_as`, a name or a number, or who this process is.

    Raises CannotStart for root that named nobody, for an unknown account, and for another
    account than one's own where one is not root.
    """
    own = os.geteuid()
    if run_as is None:
        if own == 0:
            raise CannotStart(
                "the server was started as root and opens files as the user it runs as; "
                "name an account with --run-as (for example --run-as nobody)"
            )
        return Account(_name(own), own, os.getegid(), changes=False)
    entry = _entry(run_as)
    if entry.pw_uid == own:
        return Account(entry.pw_name, own, os.getegid(), changes=False)
    if own != 0:
        raise CannotStart(f"--run-as {run_as}: only root can become another user; leave it out")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, changes=True)


def become(who: Account) -> None:
    """
    Become that account for good, without supplementary groups, capabilities or core dumps.

    Raises CannotStart when the kernel did not do all of it.
    """
    if who.changes:
        os.setgroups([])
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        if {*os.getresuid()} != {who.uid} or {*os.getresgid()} != {who.gid} or os.getgroups():
            raise CannotStart(f"could not become {who.name} wholly; the server does not go on")
    prctl.set_no_new_privs()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl.set_not_dumpable()


def _entry(run_as: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(run_as)) if run_as.isdecimal() else pwd.getpwnam(run_as)
    except (KeyError, OverflowError) as error:
        raise CannotStart(
            f"--run-as {run_as}: there is no such account; name one of this host"
        ) from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
