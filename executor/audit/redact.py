"""
Secrets that a request names are not kept: what looks like one is replaced before it is hashed.

The decision is made on the request as it was; only what is written differs. The forms are those
of well-known credentials, each told by a fixed beginning, so that a plain text costs a few
searches for substrings and no expression. What has no such form (a password in a file's name) is
recorded as it is: the record has to say what was asked for.

Only the part that can be stored is looked at, with room for a secret that crosses its end, so the
time is bounded whatever a guest sends.
"""

import re
from dataclasses import replace
from typing import Final

from executor.audit.record import TEXT_CAP, Draft, Text
from policy.redaction import Redaction
from policy.requests import REDACTED

_LOOKED_AT: Final = 2 * TEXT_CAP
# A token begins where no other token can be under way: each is looked at once.
_START: Final = r"(?<![A-Za-z0-9_-])"
_PART: Final = r"[0-9A-Za-z_-]{8,4096}"
_FORMS: Final = (
    (("AKIA", "ASIA"), _START + r"A[KS]IA[0-9A-Z]{16}"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), _START + r"gh[pousr]_[0-9A-Za-z]{20,255}"),
    (("github_pat_",), _START + r"github_pat_[0-9A-Za-z_]{20,255}"),
    (("glpat-",), _START + r"glpat-[0-9A-Za-z_-]{20,255}"),
    (("sk-",), _START + r"sk-[0-9A-Za-z_-]{20,255}"),
    (("xox",), _START + r"xox[abeprs]-[0-9A-Za-z-]{10,255}"),
    (("AIza",), _START + r"AIza[0-9A-Za-z_-]{35}"),
    (("eyJ",), _START + rf"eyJ{_PART}\.{_PART}\.[0-9A-Za-z_-]{{0,4096}}"),
    (
        ("earer ", "EARER ", "asic ", "ASIC "),
        r"(?i:(?<=bearer )|(?<=basic ))[0-9A-Za-z._~+/=-]{8,4096}",
    ),
    (("PRIVATE KEY-----",), r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?s:.{0,8192})"),
    (("://",), r"(?<=://)[^/?#@\s]{1,1024}(?=@)"),
)
_MARKS: Final = tuple(mark for marks, _ in _FORMS for mark in marks)
_SECRET: Final = re.compile("|".join(form for _, form in _FORMS))


def redacted(draft: Draft) -> Draft:
    """
    The draft without what looks like a secret in its request, its outcome or a detail's text.
    """
    # Most records have none of the marks, and all of their texts are searched for one together.
    held: list[Text | int | None] = [draft.request, draft.outcome]
    if draft.detail:
        held += [value for _, value in draft.detail]
    told = [text[:_LOOKED_AT] for text in held if isinstance(text, str)]
    if not told or not _may_hold_one("\n".join(told)):
        return draft
    return replace(
        draft,
        request=_without(draft.request),
        outcome=_without(draft.outcome),
        detail=tuple((key, _of_detail(value)) for key, value in draft.detail),
    )


def without_secrets(text: str) -> str:
    """
    The text with `[redacted]` in place of each secret in what is stored of it.
    """
    looked_at = text[:_LOOKED_AT]
    if not _may_hold_one(looked_at):
        return text
    said = _SECRET.sub(REDACTED, looked_at)
    return text if said == looked_at else said + _rest(text)


def whole_without(text: str, redaction: Redaction) -> str:
    """
    All of a text without what looks like a secret, and without the values of what is withheld by
    name. What is between is linear in the text, of whose length the caller takes care.
    """
    plain = _SECRET.sub(REDACTED, text) if _may_hold_one(text) else text
    return _hidden(plain, redaction)


def _rest(text: str) -> str:
    """
    What stands for the part that was not looked at: behind a text that became shorter it could
    come to where it is stored.
    """
    return "[and more]" if len(text) > _LOOKED_AT else ""


def withheld(draft: Draft, redaction: Redaction) -> Draft:
    """
    The draft without the values of what its policy names, as far as its outcome and its details
    have them in the form `name=value`, `name: value` or `"name": "value"`. What was asked for
    is not looked into: who could hide a file by its name would be the one who asks for it.
    """
    if not redaction:
        return draft
    return replace(
        draft,
        outcome=_named(draft.outcome, redaction),
        detail=tuple((key, _of_named(value, redaction)) for key, value in draft.detail),
    )


def without_named(text: str, redaction: Redaction) -> str:
    """
    The text with `[redacted]` in place of the value of each name that is to be hidden, in what is
    stored of it. What follows a colon is hidden to the end of its line, as a field of HTTP is;
    what follows `=` to the next space, quote or separator. One pass, linear in the text.
    """
    looked_at = text[:_LOOKED_AT]
    said = _hidden(looked_at, redaction)
    return text if said is looked_at else said + _rest(text)


def _hidden(text: str, redaction: Redaction) -> str:
    """
    The text without those values; the same object where there are none.
    """
    low = text.lower()
    if not any(piece in low for piece in redaction.pieces):
        return text
    said, at = "", 0
    for found in _NAMED.finditer(text):
        if found.start() >= at and redaction.hides(found["name"]):
            end = _end_of_value(text, found)
            said += text[at : found.end()] + REDACTED
            at = end
    return text if at == 0 else said + text[at:]


# A name, perhaps in quotes, and the sign after which its value begins, perhaps with its quote. The
# name is whole and the parts exclude each other, so that no text is looked at twice.
_NAMED: Final = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]{1,256}+)["']?"""
    r"""[ \t]{0,8}(?P<sign>[=:])[ \t]{0,8}(?P<quote>["']?)"""
)
_AFTER_EQUALS: Final = re.compile(r"""[\s&;,"')\]}]""")
_AFTER_COLON: Final = re.compile(r"[\r\n]")
_AFTER_QUOTE: Final = {
    '"': re.compile(r'(?<!\\)(?:\\\\)*"'),
    "'": re.compile(r"(?<!\\)(?:\\\\)*'"),
}


def _end_of_value(text: str, found: re.Match[str]) -> int:
    if quote := found["quote"]:
        ends = _AFTER_QUOTE[quote]
    else:
        ends = _AFTER_EQUALS if found["sign"] == "=" else _AFTER_COLON
    end = ends.search(text, found.end())
    return len(text) if end is None else end.end() - 1 if found["quote"] else end.start()


def _named(text: Text | None, redaction: Redaction) -> Text | None:
    return without_named(text, redaction) if isinstance(text, str) else text


def _of_named(value: Text | int, redaction: Redaction) -> Text | int:
    return without_named(value, redaction) if isinstance(value, str) else value


def _may_hold_one(text: str) -> bool:
    for mark in _MARKS:  # noqa: SIM110 - half as long as `any`, and once for each record
        if mark in text:
            return True
    return False


def _without(text: Text | None) -> Text | None:
    return without_secrets(text) if isinstance(text, str) else text


def _of_detail(value: Text | int) -> Text | int:
    return without_secrets(value) if isinstance(value, str) else value
