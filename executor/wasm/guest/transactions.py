"""
`import codecage`: what the session's code can do with a mount whose changes become the host's by a
commit. Runs inside the cage, and decides nothing: the server does, by the session's policy.

    import codecage
    print(codecage.dry_run())
    codecage.commit()

`mount` is the mount's path, and may be left out where there is one alone.
"""

import json
import os

_readlink = os.readlink


class Conflict(Exception):
    """The host's files are not what this session saw; nothing was written."""

    def __init__(self, report):
        paths = ", ".join(report.conflicts)
        super().__init__(
            f"nothing was committed to {report.mount}, because these changed on the host after "
            f"this session had seen them: {paths}. Call codecage.rollback({report.mount!r}), read "
            "them again, and repeat your changes."
        )
        self.report = report


class GateFailed(Exception):
    """What judges this mount's commits did not agree; nothing was written."""

    def __init__(self, report):
        said = "\n".join(line for gate in report.gates for line in verdict(gate))
        super().__init__(
            f"nothing was committed to {report.mount}, because a gate did not agree. Your changes "
            f"are still there: correct them, and commit again.\n{said}"
        )
        self.report = report


def verdict(gate):
    yield f"  {gate['gate']}: {gate['judgement']}{' (advice)' * gate['advisory']}"
    yield from (f"    {line}" for line in gate["message"].splitlines())


class Report:
    """
    What came of a commit or a dry run: `outcome`, `changes` (mappings with `path`, `kind`, `diff`
    and more), `conflicts`, `gates` (mappings with `gate`, `judgement`, `message`), and the `digest`
    of the list.
    """

    def __init__(self, told):
        self.mount = told["mount"]
        self.outcome = told["outcome"]
        self.digest = told["digest"]
        self.changes = told["changes"]
        self.more = told["more"]
        self.conflicts = told["conflicts"]
        self.gates = told["gates"]

    def __repr__(self):
        lines = [f"{self.mount}: {self.outcome}"]
        lines += [f"  changed on the host: {path}" for path in self.conflicts]
        lines += [line for gate in self.gates for line in verdict(gate)]
        for change in self.changes:
            lines.append(f"  {change['kind']} {change['path']}{'/' * change['directory']}")
        if self.more:
            lines.append(f"  and {self.more} more")
        return "\n".join([*lines, *(one["diff"] for one in self.changes if one["diff"])])


def commit(mount=""):
    """Make what was changed below `mount` the host's: all of it, or nothing, and a Conflict or GateFailed."""
    report = done("commit", mount)
    if report.outcome == "conflict":
        raise Conflict(report)
    if report.outcome == "gate failed":
        raise GateFailed(report)
    return report


def dry_run(mount=""):
    """What a commit would do now."""
    return done("dry_run", mount)


def rollback(mount=""):
    """Drop what was changed below `mount` since the last commit."""
    return done("rollback", mount)


def done(verb, mount):
    number, text = ask(verb, mount)
    if number:
        raise OSError(number, text)
    return Report(json.loads(text))


def ask(verb, mount):
    """
    The server's answer: an errno and a reason, or 0 and the report. The native cage asks otherwise.
    """
    try:
        text = piece = _readlink(f"/dev/transaction/{verb}{os.fspath(mount)}")
        while piece:
            piece = _readlink("/dev/transaction/more")
            text += piece
    except OSError as error:
        return error.errno, error.strerror
    return 0, text


__all__ = ["Conflict", "GateFailed", "Report", "commit", "dry_run", "rollback"]
