"""
`codecage doctor`: what this machine lacks for running cells, and how to mend it.
"""

import argparse
import json
import textwrap
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import executor.images.checks as images
import executor.linux.checks as linux
from executor.children import probing

if TYPE_CHECKING:
    from executor.children.probing import NotHeld
    from executor.kernel.boxing import HeldItem, Holding

    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_OK, _FAILED = 0, 1
_EXAMPLE = """\
example:
  codecage doctor

For the process cage (images whose names begin with native-) a box is made and attacked; each line
that begins with "box" says how far it holds in one part. What it lacks is a warning: sessions in
WebAssembly run without.

exit codes: 0 sessions can run here, 1 a check failed; what to do stands below it.
"""


class Verdict(StrEnum):
    """
    The outcome of a check; WARNING does not keep a session from running.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One check: what was found, and how to mend it where it is not well.
    """

    name: str
    verdict: Verdict
    found: str
    mend: str


def register(subparsers: "Subparsers") -> None:
    """
    Add the command to the command line.
    """
    about = "say what this machine lacks for running cells, and how to mend it"
    parser = subparsers.add_parser(
        "doctor",
        help=about,
        description=about,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Make every check and print what it found.
    """
    findings = examine()
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print(table(findings))
    failed = any(finding.verdict is Verdict.FAILED for finding in findings)
    return _FAILED if failed else _OK


def examine() -> list[Finding]:
    """
    All checks, of the kernel first, then of the images.
    """
    kernel = [
        Finding(check.name, _LINUX[check.status], check.found, check.mend)
        for check in linux.checks()
    ]
    guests = [
        Finding(check.name, _IMAGES[check.status], check.found, check.mend)
        for check in images.checks()
    ]
    return kernel + guests + boxes(probing.probe())


def boxes(found: "Holding | NotHeld") -> list[Finding]:
    """
    What was found of the process cage, a finding for each part of a box.
    """
    name = "process cage"
    if isinstance(found, probing.NotHeld):
        if found.missing:
            mend = "native images cannot be used here; those of the WebAssembly cage can"
            return [Finding(name, Verdict.WARNING, found.reason, mend)]
        mend = "do not serve native images here"
        return [Finding(name, Verdict.FAILED, found.reason, mend)]
    return [
        Finding(name, Verdict.OK, f"a box holds at level {found}", ""),
        *(Finding(f"box {item.name}", _HELD[item.state], _said(item), "") for item in found.items),
    ]


def _said(item: "HeldItem") -> str:
    return f"{item.state}: {item.how}"


_HELD = {"enforced": Verdict.OK, "partial": Verdict.WARNING, "absent": Verdict.WARNING}
_LINUX = {
    linux.Status.PASSED: Verdict.OK,
    linux.Status.FAILED: Verdict.FAILED,
}
_IMAGES = {
    images.Status.OK: Verdict.OK,
    images.Status.WARN: Verdict.WARNING,
    images.Status.FAIL: Verdict.FAILED,
}


def table(findings: list[Finding]) -> str:
    """
    The findings in three columns, what to do below each that is not well, a sentence at the end.
    """
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        start = f"{finding.verdict.value:8} {finding.name:{width}}  "
        lines += _paragraph(finding.found, start)
        if finding.mend:
            lines += _paragraph(finding.mend, " " * (width + 11) + "-> ")
    lines += ["", _conclusion(findings)]
    return "\n".join(lines)


def _paragraph(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=100,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]


def _conclusion(findings: list[Finding]) -> str:
    failed = sum(finding.verdict is Verdict.FAILED for finding in findings)
    if failed:
        return f"{failed} of {len(findings)} checks failed: no session can start until they pass."
    return "Sessions can run here."
