"""
`codecage image`: build, lock, audit, list, verify, prune, imports.

Exit codes: 0 done; 1 failed, with the reason on stderr; 2 wrong usage (argparse's own). Results
go to stdout and progress to stderr, so that `--json` can be piped.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from executor.images import audit, catalog, locking, provides, report
from executor.images.build import Order, build
from executor.images.cache import default_cache
from executor.images.declaration import adding, load, shipped_names
from executor.images.distribution import BASE_VARIABLE, configured_base
from executor.images.errors import ImageError, ImageRefusedError
from executor.images.guests import DEFAULT, GUESTS, guest_kind
from executor.images.identity import PLAIN_NAME
from executor.images.lock import SHIPPED_LOCK
from executor.images.manifest import Image
from executor.process import images as native
from executor.process import images_build, images_kept
from executor.wasm import support

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
    _register_lock(commands)
    _register_audit(commands)
    _register_list(commands)
    _register_verify(commands)
    _register_prune(commands)
    _register_imports(commands)


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
        "image",
        nargs="?",
        metavar="IMAGE",
        help=f"a shipped image ({', '.join((*shipped_names(), *native.names()))}) or the file of a "
        "declaration",
    )
    parser.add_argument(
        "--with",
        dest="packages",
        metavar="PACKAGE",
        action="append",
        default=[],
        help=f"add a package of the lock to {PLAIN_NAME}; may be repeated",
    )
    parser.add_argument(
        "--name", help=f"the image's name (default: {PLAIN_NAME}, or {PLAIN_NAME}-PACKAGE...)"
    )
    parser.add_argument(
        "--lock",
        type=Path,
        default=SHIPPED_LOCK,
        metavar="FILE",
        help="for --with: a lock with hashes to use instead of the one that is shipped",
    )
    _add_base(parser)


def _add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pyodide-base",
        metavar="ADDRESS",
        help="where the wheels of Pyodide's distribution are, for images that take packages "
        f"from it (default: ${BASE_VARIABLE})",
    )


def _build(arguments: argparse.Namespace) -> int:
    if arguments.image in native.names():
        return _build_native(arguments)
    order = _order(arguments)
    line = report.ProgressLine(sys.stderr)
    try:
        image = build(order, line)
    finally:
        line.close()
    _show((report.listed(image),), arguments)
    return 0


def _build_native(arguments: argparse.Namespace) -> int:
    _refuse_options(arguments)
    cache = default_cache()
    declared = native.declared_as(arguments.image)
    if not native.is_built(declared, cache):
        print("fetch, check and unpack wheels ...", file=sys.stderr)
    images_build.build(declared.name, _in_silence, cache)
    _show((images_kept.verified(declared.name, cache),), arguments)
    return 0


def _in_silence() -> None:
    """
    The work is pip's, which does not say how far it is.
    """


def _order(arguments: argparse.Namespace) -> Order:
    base = configured_base(arguments.pyodide_base)
    packages = tuple(name for item in arguments.packages for name in item.split(",") if name)
    if arguments.image is not None:
        _refuse_options(arguments)
        return Order(load(arguments.image), base=base)
    if not packages and not arguments.name and arguments.lock == SHIPPED_LOCK:
        return Order(load(PLAIN_NAME), base=base)
    return Order(adding(packages, arguments.name, arguments.lock), packages, base)


def _refuse_options(arguments: argparse.Namespace) -> None:
    if arguments.packages or arguments.name or arguments.lock != SHIPPED_LOCK:
        raise ImageError(
            "--with, --name and --lock are for an image without a declaration. Write what is "
            "wanted into the declaration, and lock it: codecage image lock FILE"
        )


def _register_lock(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "choose exact wheels for a declaration, check them, and write their hashes down"
    parser = _add(commands, "lock", about, _lock)
    parser.add_argument("image", metavar="DECLARATION", help="a file, or a shipped image's name")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write (default: NAME.lock.txt beside)"
    )
    parser.add_argument(
        "--provides", type=Path, metavar="FILE", help="a table of modules by image to update"
    )
    _add_base(parser)


def _lock(arguments: argparse.Namespace) -> int:
    declaration = load(arguments.image)
    line = report.ProgressLine(sys.stderr)
    try:
        made = locking.lock(declaration, configured_base(arguments.pyodide_base), line)
    finally:
        line.close()
    target = arguments.output or declaration.lock
    target.write_text(made.text, encoding="utf-8")
    if arguments.provides is not None:
        rows = provides.read_table(arguments.provides) | {made.name: list(made.modules)}
        arguments.provides.write_text(provides.table_text(rows), encoding="utf-8")
    if made.unchecked:
        _note_unchecked(made)
    print(report.lock_json(made) if arguments.json else report.lock_table(made))
    return 0


def _note_unchecked(made: locking.Locked) -> None:
    print(
        f"codecage: {len(made.unchecked)} wheels of Pyodide's distribution were not fetched, as "
        f"neither --pyodide-base nor {BASE_VARIABLE} says where they are; they are checked when "
        "the image is built.",
        file=sys.stderr,
    )


def _register_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "say whether wheels can be part of an image, and what their native parts import"
    parser = _add(commands, "audit", about, _audit)
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument(
        "--guest",
        choices=[kind.name for kind in GUESTS],
        default=DEFAULT.name,
        help=f"the guest that the wheels are for (default: {DEFAULT.name})",
    )


def _audit(arguments: argparse.Namespace) -> int:
    found = [audit.audit(path, guest_kind(arguments.guest)) for path in arguments.wheels]
    print(audit.as_json(found) if arguments.json else audit.as_text(found))
    return 0 if all(one.admitted for one in found) else 1


def _register_list(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _add(commands, "list", "list the images in the cache", _list)


def _list(arguments: argparse.Namespace) -> int:
    refused = catalog.refused_images()
    built = tuple(map(report.listed, catalog.list_images()))
    _show((*built, *images_kept.listed(default_cache())), arguments)
    if not built and not refused and not arguments.json:
        print("No image is built. Build one: codecage image build")
    return _complain(refused)


def _complain(refused: Sequence[ImageError]) -> int:
    for error in refused:
        print(f"codecage: {error}", file=sys.stderr)
    return 1 if refused else 0


def _show(images: tuple[report.Listed, ...], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(report.as_json(images))
        return
    print(report.table(images))


def _register_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add(commands, "verify", "check every file of images by its hash", _verify)
    parser.add_argument("names", nargs="*", metavar="NAME", help="images (default: all)")


def _verify(arguments: argparse.Namespace) -> int:
    sound: list[report.Listed] = []
    refused: list[ImageError] = [] if arguments.names else list(catalog.refused_images())
    for check in _checks(arguments.names):
        try:
            sound.append(check())
        except ImageRefusedError as error:
            refused.append(error)
    if sound or not refused:
        _show(tuple(sound), arguments)
    return _complain(refused)


def _checks(names: list[str]) -> list[Callable[[], report.Listed]]:
    """
    A check for each image that is named, or for all. Raises FileNotFoundError for a name that
    there is not.
    """
    cache = default_cache()
    images = {image.name: partial(_verified, image) for image in catalog.list_images()}
    others = {
        one.name: partial(images_kept.verified, one.name, cache)
        for one in images_kept.listed(cache)
    }
    checks: dict[str, Callable[[], report.Listed]] = {**images, **others}
    for name in names:
        if name not in checks:
            raise FileNotFoundError(
                f"There is no image {name!r}; there is {', '.join(sorted(checks))}. "
                "Build it: codecage image build [--with PACKAGE]"
            )
    return [check for name, check in checks.items() if not names or name in names]


def _verified(image: Image) -> report.Listed:
    catalog.verify(image)
    return report.listed(image)


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
    keep = tuple(arguments.keep)
    freed = catalog.prune(keep, every=arguments.all)
    freed += images_kept.prune(keep, default_cache(), every=arguments.all)
    if arguments.json:
        print(json.dumps({"freed": freed}))
    else:
        print(f"Freed {report.size_text(freed)}.")
    return 0


def _register_imports(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "print what guests can ask of the host, and how far each call is supported"
    parser = _add(commands, "imports", about, _imports)
    parser.add_argument(
        "guest",
        nargs="?",
        choices=support.guests(),
        metavar="GUEST",
        help=f"one kind of guest ({', '.join(support.guests())}); default: all",
    )


def _imports(arguments: argparse.Namespace) -> int:
    if arguments.json:
        wanted = [arguments.guest] if arguments.guest else support.guests()
        found = [asdict(one) for guest in wanted for one in support.imports_of(guest)]
        print(json.dumps([one | {"support": one["support"].value} for one in found], indent=2))
    else:
        print(support.page(arguments.guest), end="")
    return 0
