"""
`codecage image`: build, list, verify, prune.

Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage (argparse's own). Results
go to stdout and progress to stderr, so that `--json` can be piped.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from executor.images import catalog, report
from executor.images.build import Declaration, build
from executor.images.errors import ImageError, ImageRefusedError
from executor.images.identity import PLAIN_NAME
from executor.images.lock import SHIPPED_LOCK
from executor.images.manifest import Image

_EXIT_CODES = "exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong usage"

Command = Callable[[argparse.Namespace], int]


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add `image` and its commands to a parser; each sets `run` to a function of the arguments.
    """
    about = "build and look after guest images"
    image = subparsers.add_parser("image", help=about, description=about, epilog=_EXIT_CODES)
    commands = image.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _register_build(commands)
    _register_list(commands)
    _register_verify(commands)
    _register_prune(commands)


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    about: str,
    run: Command,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about, epilog=_EXIT_CODES)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=_guarded(run))
    return parser


def _guarded(run: Command) -> Command:
    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except (ImageError, OSError) as error:
            print(f"codecage: {error}", file=sys.stderr)
            return 1

    return guarded


def _register_build(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add(commands, "build", "build an image, or say where it is", _build)
    parser.add_argument(
        "--with",
        dest="packages",
        metavar="PACKAGE",
        action="append",
        default=[],
        help="add a pure-Python package of the lock; may be repeated",
    )
    parser.add_argument(
        "--name", help=f"the image's name (default: {PLAIN_NAME}, or {PLAIN_NAME}-PACKAGE...)"
    )
    parser.add_argument(
        "--lock",
        type=Path,
        default=SHIPPED_LOCK,
        metavar="FILE",
        help="a requirements lock with hashes to use instead of the one that is shipped",
    )


def _build(arguments: argparse.Namespace) -> int:
    packages = tuple(name for item in arguments.packages for name in item.split(",") if name)
    line = report.ProgressLine(sys.stderr)
    try:
        image = build(Declaration(packages, arguments.name, arguments.lock), line)
    finally:
        line.close()
    _show((image,), arguments)
    return 0


def _register_list(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _add(commands, "list", "list the images in the cache", _list)


def _list(arguments: argparse.Namespace) -> int:
    sound, refused = catalog.list_images(), catalog.refused_images()
    if sound or not refused:
        _show(sound, arguments)
    return _complain(refused)


def _complain(refused: Sequence[ImageError]) -> int:
    for error in refused:
        print(f"codecage: {error}", file=sys.stderr)
    return 1 if refused else 0


def _show(images: tuple[Image, ...], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(report.as_json(images))
    elif images:
        print(report.table(images))
    else:
        print("No image is built. Build one: codecage image build")


def _register_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add(commands, "verify", "check every file of images by its hash", _verify)
    parser.add_argument("names", nargs="*", metavar="NAME", help="images (default: all)")


def _verify(arguments: argparse.Namespace) -> int:
    sound: list[Image] = []
    refused: list[ImageError] = [] if arguments.names else list(catalog.refused_images())
    for image in _named(arguments.names):
        try:
            catalog.verify(image)
        except ImageRefusedError as error:
            refused.append(error)
        else:
            sound.append(image)
    if sound or not refused:
        _show(tuple(sound), arguments)
    return _complain(refused)


def _named(names: list[str]) -> tuple[Image, ...]:
    images = catalog.list_images()
    for name in names:
        if name not in {image.name for image in images}:
            there = ", ".join(sorted({image.name for image in images})) or "none"
            raise FileNotFoundError(
                f"There is no image {name!r}; there is {there}. "
                "Build it: codecage image build [--with PACKAGE]"
            )
    return tuple(image for image in images if not names or image.name in names)


def _register_prune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "remove images that cannot be used here any more, and what dead builds left"
    parser = _add(commands, "prune", about, _prune)
    parser.add_argument("--all", action="store_true", help="remove the usable ones as well")
    parser.add_argument(
        "--keep",
        metavar="KEY",
        action="append",
        default=[],
        help="an image to keep in any case, by 6 or more digits of its key; may be repeated",
    )


def _prune(arguments: argparse.Namespace) -> int:
    freed = catalog.prune(tuple(arguments.keep), every=arguments.all)
    if arguments.json:
        print(json.dumps({"freed": freed}))
    else:
        print(f"Freed {report.size_text(freed)}.")
    return 0
