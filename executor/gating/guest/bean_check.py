"""
The gate bean-check: beancount's own check of the books below TREE, which an agent has written.

Runs inside a cage. Beancount runs code that its files name (plugins, `insert_pythonpath`), reads
files that they include, and repeats what it has read in its messages; a plugin that calls
os._exit(0) would look like a yes. So all files are parsed first, which runs nothing, and what names
code or leads out of the tree is refused before beancount loads anything. What would loosen the
check itself (options, lines and entries that go) is refused where a commit brings it, not where it
stood.
"""

import collections
import difflib
import os
import types

from beancount import loader
from beancount.ops import validation
from beancount.parser import options, parser, printer
from beancount.utils import encryption

TREE, BEFORE = "/tree", "/before"
# What a commit may say in the books it changes: how they look, and nothing of how they are checked.
HARMLESS = frozenset({"operating_currency", "render_commas", "title"})
# Set by the parser about the file itself.
OF_THE_FILE = frozenset({"commodities", "dcontext", "filename", "input_hash", "pythonpath"})
# What the parser notes of where an entry stood.
PLACE = frozenset({"filename", "lineno"})
OWN = frozenset({"beancount.ops.documents", "beancount.ops.pad", "beancount.ops.balance"})


class Refused(Exception):
    """The books hold something that this gate does not look at."""


def judge(gate):
    """Print what is wrong, and say `passed`, `failed` or `refused`."""
    try:
        require_data(gate)
        require_kept(gate)
    except Refused as refusal:
        print(refusal)
        return "refused"
    errors, books = check(gate)
    if strangers := [path for path in gate["changed"] if is_ledger(path) and path not in books]:
        print(f"{', '.join(strangers)}: not included by {gate['file']}, so nobody would check it.")
        return "refused"
    for error in errors[:MOST_ERRORS]:
        print(printer.format_error(error).replace(f"{TREE}/", "").strip(), "\n")
    if len(errors) > MOST_ERRORS:
        print(f"and {len(errors) - MOST_ERRORS} more")
    return "failed" if errors else "passed"


MOST_ERRORS = 50


def check(gate):
    """The errors that `bean-check` finds, with no modules but those of the policy; and the books."""
    allowed = OWN | {*gate["plugins"]}
    loader.importlib = types.SimpleNamespace(import_module=lambda name: module(name, allowed))
    loader.initialize(use_cache=False)  # its cache is a pickle, which is code
    _, errors, said = loader.load_file(
        os.path.join(TREE, gate["file"]), extra_validations=validation.HARDCORE_VALIDATIONS
    )
    return errors, {os.path.relpath(path, TREE) for path in said["include"]}


def is_ledger(path):
    """Whether it is there after the commit and looks like books."""
    return path.endswith((".beancount", ".bean")) and os.path.exists(os.path.join(TREE, path))


def module(name, allowed):
    if name not in allowed:
        raise RuntimeError(f"a plugin came through: {name!r}")
    import importlib

    return importlib.import_module(name)


def require_data(gate):
    """Refuse books that name code, or files outside the tree, in whatever file they do."""
    if not os.path.isfile(os.path.join(TREE, gate["file"])):
        raise Refused(f"There is no {gate['file']}, where the check begins.")
    for path in files():
        whole = os.path.join(TREE, path)
        if encryption.is_encrypted_file(whole):
            raise Refused(f"{path} is encrypted.")
        said = options_of(whole)
        if said.get("insert_pythonpath"):
            raise Refused(f"{path} has the option insert_pythonpath, which makes files code.")
        for name, config in said["plugin"]:
            if name not in gate["plugins"]:
                raise Refused(f"{path} names the plugin {name!r}, which the policy does not list.")
            if config is not None and path in gate["changed"]:
                raise Refused(f"{path} configures the plugin {name!r}; a commit may not.")
        for included in said["include"]:
            require_inside(path, included)
        for directory in said["documents"]:
            require_inside(path, directory)


def require_inside(path, included):
    target = os.path.normpath(os.path.join(os.path.dirname(path), included))
    if os.path.isabs(included) or target.split("/")[0] == "..":
        raise Refused(f"{path} includes {included!r}, which leads out of the books.")


def require_kept(gate):
    """Refuse a commit that loosens the check, or removes more than the policy lets go."""
    for path in gate["changed"]:
        after, before = (os.path.join(root, path) for root in (TREE, BEFORE))
        old = options_of(before) if os.path.exists(before) else options.OPTIONS_DEFAULTS
        new = options_of(after) if os.path.exists(after) else old
        for name in sorted(new):
            if name in HARMLESS | OF_THE_FILE | {"include", "plugin"}:
                continue
            if new[name] != old.get(name):
                raise Refused(f"{path} changes the option {name}; a commit may not.")
    if gate["max_deleted"] is not None:
        require_few(gate["changed"], gate["max_deleted"])


def require_few(changed, most):
    gone = {path: max(removed(path), undone(path)) for path in changed}
    if (count := sum(gone.values())) > most:
        where = ", ".join(f"{path} ({lines})" for path, lines in gone.items() if lines)
        raise Refused(
            f"The commit removes or changes {count} lines or entries that were there: {where}. "
            f"{most} may go; add a correcting entry instead."
        )


def removed(path):
    """How many lines of a file are not there any more, in their order; moving one removes it."""
    old, new = lines(os.path.join(BEFORE, path)), lines(os.path.join(TREE, path))
    rest = iter(new)
    if all(any(line == other for other in rest) for line in old):
        return 0  # something was added, and nothing else
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return len(old) - sum(block.size for block in blocks)


def undone(path):
    """
    How many entries of a file are not there as they were, although their lines may be: a text may
    go over several lines, so one that is begun before a balance and ended after it hides that, and
    a posting that is put into a transaction changes it.
    """
    return (entries(os.path.join(BEFORE, path)) - entries(os.path.join(TREE, path))).total()


def entries(path):
    """The entries of a file, each as a text, and how often."""
    if not os.path.exists(path):
        return collections.Counter()
    found, _, _ = parser.parse_file(path)
    return collections.Counter(map(meaning, found))


def meaning(value):
    """What an entry says, without its place: lines move when one is put before them."""
    if isinstance(value, dict):
        kept = {key: meaning(one) for key, one in value.items() if key not in PLACE}
        return repr(sorted(kept.items()))
    if isinstance(value, frozenset | set):
        return repr(sorted(map(meaning, value)))
    if isinstance(value, tuple | list):
        return repr((type(value).__name__, *map(meaning, value)))
    return repr(value)


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [line for line in map(bytes.rstrip, file) if line]


def files():
    """Every file of the tree: any of them may be included."""
    for directory, _, names in os.walk(TREE):
        for name in sorted(names):
            yield os.path.relpath(os.path.join(directory, name), TREE)


def options_of(path):
    _, _, said = parser.parse_file(path)
    return said
