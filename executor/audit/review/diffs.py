"""
What commits made of files, line by line where that was kept: for pages, terminals and programs.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from executor.audit.differences import Differences, FileDiff, lost, sealed
from executor.audit.escape import visible
from executor.audit.listing import Listed
from executor.audit.record import Record
from executor.audit.report import Json, value_json
from executor.audit.review.commits import Committed
from executor.audit.review.html import Html, element, guest, seen, spans, text
from executor.audit.review.pieces import Numbered, number, quiet
from executor.audit.review.rows import Look

NOT_KEPT: Final = (
    "Contents are kept under audit: {level: replay} alone, so there is no diff: the digests tell "
    "which file is meant."
)
_MARKS: Final = {"+": "added", "-": "deleted", "@": "place", "\\": "quiet", "[": "quiet"}
_LOOKS: Final = {"+": Look.ADDED, "-": Look.REMOVED, " ": Look.PLAIN}
_DIGEST_SHOWN: Final = 16


def section(made: Sequence[Committed], option: str, numbered: Numbered = number) -> Iterator[Html]:
    """
    The commits for a page. Diffs that were kept and are not shown are told of by the `option` that
    shows them.
    """
    for one in made:
        heading = (guest(one.request), text(" · "), guest(one.outcome), text(" · record "))
        yield element("h3", *heading, numbered(one.decision.sequence))
        if one.digest:
            yield element("p", text("changes, SHA-256 "), guest(one.digest), kind="quiet")
        if one.changes:
            yield element("ul", *map(_item, one.changes), kind="changes")
        if not one.whole:
            yield quiet("Not all of its changes are listed in the record.")
        yield from _contents(one, option)


def by_file(decision: Record, differences: Differences | None, option: str) -> Iterator[Html]:
    """
    What a commit made of files, line by line, or why that is not here.
    """
    if differences is None:
        yield quiet(unseen(decision, option))
        return
    if differences.why:
        yield quiet(_sentence(differences.why))
    for one in differences.files:
        yield element("h4", guest(one.path))
        if one.why:
            yield quiet(f"No diff: {one.why}.")
        elif one.diff:
            yield spans(_marked(one.diff), kind="diff")
        else:
            yield quiet("No line differs.")
    if differences.more:
        yield quiet(f"{differences.more} files more have no diff.")


def _contents(one: Committed, option: str) -> Iterator[Html]:
    yield from by_file(one.decision, one.differences, option)


def unseen(decision: Record, option: str) -> str:
    """
    Why no diff of a commit is shown.
    """
    if why := lost(decision):
        return _sentence(f"its diff was not kept: {why}")
    return NOT_KEPT if sealed(decision) is None else f"Its diff was kept; {option} shows it."


def lines(made: Sequence[Committed], option: str) -> Iterator[tuple[str, Look]]:
    """
    The commits for a terminal.
    """
    for one in made:
        said = f"{visible(one.request)}, record {one.decision.sequence}: {visible(one.outcome)}"
        yield said, Look.PLAIN
        for change in one.changes:
            size = "" if change.directory else f", {change.size} bytes"
            yield f"  {change.kind} {change.path}{size}", Look.PLAIN
        if not one.whole:
            yield "  and more, which are not listed in the record", Look.QUIET
        yield from diff_lines(one.decision, one.differences, option)


def diff_lines(
    decision: Record, differences: Differences | None, option: str
) -> Iterator[tuple[str, Look]]:
    """
    What a commit made of files, for a terminal: no character of it acts.
    """
    if differences is None:
        yield unseen(decision, option), Look.QUIET
        return
    if differences.why:
        yield _sentence(visible(differences.why)), Look.QUIET
    for one in differences.files:
        yield f"--- {visible(one.path)}", Look.PLAIN
        if one.why:
            yield f"no diff: {one.why}", Look.QUIET
        for line in one.diff.split("\n")[:-1]:
            yield visible(line), _LOOKS.get(line[:1], Look.QUIET)
    if differences.more:
        yield f"{differences.more} files more have no diff", Look.QUIET


def to_json(one: Committed) -> Json:
    """
    A commit for programs.
    """
    return {
        "sequence": one.decision.sequence,
        "request": value_json(one.request),
        "outcome": value_json(one.outcome),
        "digest": value_json(one.digest),
        "changes": [_listed_json(change) for change in one.changes],
        "changes_are_all": one.whole,
        **diff_json(one.decision, one.differences),
    }


def diff_json(decision: Record, differences: Differences | None) -> Json:
    """
    The diffs of a commit for programs; `diffs` is null where none are shown.
    """
    told = None if differences is None else [_diff_json(file) for file in differences.files]
    more, why = (0, lost(decision)) if differences is None else (differences.more, differences.why)
    return {"diffs": told, "diffs_more": more, "diffs_missing": why}


def _item(change: Listed) -> Html:
    said = [element("strong", text(change.kind)), text(" "), seen(change.path)]
    if change.directory:
        return element("li", *said, text(" (directory)"), kind=change.kind)
    size = "" if change.kind == "deleted" else f"{change.size:,} bytes, "
    before, after = (one[:_DIGEST_SHOWN] or "none" for one in (change.before, change.after))
    digests = (text(f" {size}SHA-256 "), seen(before), text(" to "), seen(after))
    return element("li", *said, element("span", *digests, kind="quiet"), kind=change.kind)


def _marked(diff: str) -> Iterator[tuple[str, str]]:
    # By "\\n" alone: what else ends a line somewhere is a character of the file here.
    lines = (f"{line}\n" for line in diff.split("\n")[:-1])
    for kind, run in groupby(lines, key=lambda line: _MARKS.get(line[:1], "")):
        yield kind, "".join(run)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _listed_json(change: Listed) -> Json:
    return {
        "kind": change.kind,
        "directory": change.directory,
        "size": change.size,
        "before": change.before,
        "after": change.after,
        "path": change.path,
    }


def _diff_json(one: FileDiff) -> Json:
    return {"path": one.path, "diff": one.diff, "why": one.why}
