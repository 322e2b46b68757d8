"""
What a policy file says of its record, over what it inherits, and names that stand there twice.
"""

from collections.abc import Iterator

from policy.lint import Finding
from policy.narrow_audit import united
from policy.schema_audit import AuditSection
from policy.types import Audit, AuditLevel
from policy.values import said


def audit_in(section: AuditSection | None, inherited: Audit) -> Audit:
    """
    The file's level, or the one that it inherits; its names besides those that it inherits, as
    what is to be left out stays left out.
    """
    if section is None:
        return inherited
    level = AuditLevel(section.level) if "level" in section.model_fields_set else inherited.level
    return Audit(level, united(tuple(section.redact), inherited.redact))


def redaction_findings(section: object) -> Iterator[Finding]:
    """
    Names that stand there twice, but perhaps for the case of their letters; `section` is what the
    file has at `audit`.
    """
    names = section.get("redact") if isinstance(section, dict) else None
    seen: dict[str, int] = {}
    for index, name in enumerate(names if isinstance(names, list) else []):
        if not isinstance(name, str):
            continue
        first = seen.setdefault(name.lower(), index)
        if first != index:
            message = f"{said(name)} stands here twice; the first is redact[{first}]"
            hint = "remove one of them: upper and lower case are the same here"
            yield Finding(("audit", "redact", index), message, hint)
