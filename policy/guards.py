"""
Names that a session never changes below a writable host mount, because something on the host
runs or obeys them later: a guest that writes one has left its cage by post.

Reading them is as granted. Version 1 of the language cannot lift a guard. Names are compared
without regard to case, because some file systems do the same.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """
    A component's name, or with a leading `*` its ending, and who would run it.
    """

    name: str
    why: str


GUARDS = (
    Guard(".git", "git runs hooks, filters and monitors that .git/config and .git/hooks name"),
    Guard(".gitmodules", "git fetches and configures what it lists"),
    Guard(".envrc", "direnv runs it on entering the directory"),
    Guard(".vscode", "the editor runs its tasks and obeys its settings"),
    Guard(".idea", "the editor runs its configurations"),
    Guard(".github", "the forge runs its workflows"),
    Guard(".mcp.json", "agents start the servers it lists"),
    Guard("*.pth", "Python runs its import lines at every start"),
    Guard("*.pyc", "Python runs it in place of the source"),
    Guard("__pycache__", "Python runs what it holds in place of the source"),
    Guard("sitecustomize.py", "Python runs it at every start"),
    Guard("usercustomize.py", "Python runs it at every start"),
    Guard("conftest.py", "pytest runs it on collection"),
    Guard("makefile", "make runs it"),
    Guard("gnumakefile", "make runs it"),
    Guard(".bashrc", "a shell runs it at start"),
    Guard(".bash_profile", "a shell runs it at login"),
    Guard(".bash_login", "a shell runs it at login"),
    Guard(".bash_logout", "a shell runs it at logout"),
    Guard(".bash_aliases", "a shell runs it at start"),
    Guard(".profile", "a shell runs it at login"),
    Guard(".cshrc", "a shell runs it at start"),
    Guard(".tcshrc", "a shell runs it at start"),
    Guard(".login", "a shell runs it at login"),
    Guard(".zshrc", "a shell runs it at start"),
    Guard(".zshenv", "a shell runs it at start"),
    Guard(".zprofile", "a shell runs it at login"),
    Guard(".zlogin", "a shell runs it at login"),
    Guard(".zlogout", "a shell runs it at logout"),
    Guard(".kshrc", "a shell runs it at start"),
    Guard(".inputrc", "a shell binds keys to commands by it"),
)


def guard_of(path: str) -> Guard | None:
    """
    The guard that a component of `path` (relative to the mount) has, or None.
    """
    folded = path.casefold()
    components = folded.split("/")
    if _NAMED.keys().isdisjoint(components):
        for ending, _ in _ENDINGS:
            if ending in folded:
                break
        else:
            return None
    for component in components:
        if guard := _NAMED.get(component):
            return guard
        for ending, guard in _ENDINGS:
            if component.endswith(ending):
                return guard
    return None


_NAMED = {guard.name: guard for guard in GUARDS if not guard.name.startswith("*")}
_ENDINGS = tuple((guard.name[1:], guard) for guard in GUARDS if guard.name.startswith("*"))
