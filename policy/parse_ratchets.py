"""
The entries of `after` in a policy file, and what is wrong with them although each value is right.
"""

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from policy.document import Document, Path
from policy.lint import Finding, Placed
from policy.places import rule_at
from policy.ratchets import NETWORK, TOOL, may_happen_below
from policy.schema_ratchets import RatchetSection
from policy.spelling import closest
from policy.types import Happening, Ratchet, ToolGrant
from policy.values import said


def placed_ratchets(document: Document, entries: object) -> list[tuple[int, Ratchet]]:
    """
    The entries whose own values are right, with their indexes.
    """
    placed: list[tuple[int, Ratchet]] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            section = RatchetSection.model_validate(entry)
        except ValidationError:
            continue
        word, _, pattern = section.event.partition(" ")
        rule = rule_at(document, ("after", index))
        revoke = tuple(sorted(set(section.revoke)))
        placed.append((index, Ratchet(Happening(word), pattern, revoke, rule)))
    return placed


def ratchet_findings(
    ratchets: Sequence[tuple[int, Ratchet]],
    grants: Sequence[Placed],
    tools: Sequence[tuple[int, ToolGrant]],
) -> Iterator[Finding]:
    """
    Events that cannot happen where they are seen, events that stand there twice, and tools that
    nobody may call.
    """
    names = [tool.name for _, tool in tools]
    seen: dict[str, int] = {}
    for index, ratchet in ratchets:
        path: Path = ("after", index, "event")
        if ratchet.event_text in seen:
            first = f"after[{seen[ratchet.event_text]}]"
            yield Finding(path, f"stands here twice; the first is {first}", "join their `revoke`")
        seen.setdefault(ratchet.event_text, index)
        if ratchet.event is not Happening.CONNECT and not _is_seen(ratchet, grants):
            message = f"{said(ratchet.event_text)} is never seen: no directory of the host is there"
            yield Finding(path, message, "correct the path; memory of the session asks nobody")
        if ratchet.event is Happening.CONNECT and NETWORK in ratchet.revoke:
            message = "the connection itself would be gone before it was made"
            yield Finding(
                ("after", index, "revoke"), message, "revoke tools, or take the host away"
            )
        for right in ratchet.revoke:
            if right.startswith(TOOL) and (name := right.removeprefix(TOOL)) not in names:
                close = closest(name, names)
                meant = f"; did you mean `{TOOL}{close}`?" if close else ""
                message = f"there is no tool `{name}` to revoke{meant}"
                yield Finding(("after", index, "revoke"), message, "name one of `tools`")


def _is_seen(ratchet: Ratchet, grants: Sequence[Placed]) -> bool:
    hosts = [one.grant.mount for one in grants if one.grant.source is not None]
    return any(may_happen_below(ratchet, mount) for mount in hosts)
