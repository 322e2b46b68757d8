"""
Which programs of the host a policy may let a session run.

A program that is granted is shown to the guest at its own path, to be read and run; a directory is
all of its programs. Everything here looks at text alone; whoever shows a program must ask again
with the path that its descriptor really has.

Sources: hier(7), file-hierarchy(7); set-user-ID programs of Debian 12, Fedora 41 and Alpine 3.21.
"""

import posixpath

from policy.paths import Refusal, dangerous_source, is_within


def dangerous_program(path: str, protected: tuple[str, ...] = ()) -> Refusal | None:
    """
    Why `path` (absolute, normalised) may never be in `process.programs`, or None.

    `protected` are the server's own directories, as for a grant of files: what is run is also
    shown.
    """
    if path in _WHOLE:
        return f"{path} is a whole tree of programs, set-user-ID ones among them", _ONE_BY_ONE
    for place, why in _OTHERS.items():
        if is_within(path, place):
            return f"{path} lies in {place}: {why}", "install the program where root alone writes"
    if posixpath.basename(path) in _SET_ID:
        hint = "grant what needs no other user's rights: a session never gains any"
        return f"{path} is made to run with another user's rights", hint
    problem = dangerous_source(path, protected)
    return (problem[0], _ONE_BY_ONE) if problem else None


_ONE_BY_ONE = "name the programs themselves, such as /usr/bin/git, or a directory of them alone"
_WHOLE = frozenset(
    {
        *("/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/local/bin"),
        *("/usr/local/sbin", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/libexec"),
        *("/opt", "/snap", "/snap/bin", "/var", "/var/lib", "/nix", "/nix/store"),
    }
)
_OTHERS = {
    "/tmp": "anybody can put a program there",  # noqa: S108 - refused here, not used
    "/var/tmp": "anybody can put a program there",  # noqa: S108 - the same
    "/home/agent": "that is the guest's own home",
}
_SET_ID = frozenset(
    {
        *("sudo", "sudoedit", "su", "doas", "pkexec", "run0", "runuser", "setpriv"),
        *("mount", "umount", "fusermount", "fusermount3", "bwrap", "firejail", "chroot"),
        *("passwd", "gpasswd", "chage", "chfn", "chsh", "expiry", "newgrp", "sg"),
        *("newuidmap", "newgidmap", "unshare", "nsenter", "capsh"),
        *("at", "crontab", "wall", "write", "ssh-agent", "ssh-keysign"),
        *("unix_chkpwd", "pam_timestamp_check", "polkit-agent-helper-1"),
        *("dbus-daemon-launch-helper", "Xorg.wrap", "mount.nfs", "mount.cifs", "bbsuid"),
    }
)
