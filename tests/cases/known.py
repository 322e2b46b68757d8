"""
Where a guest and plain Python are known to differ, each with its reason.

`python -m tests.cases.known` prints the table of docs/images.md that has these rows.

A row is no licence: the test fails too where a listed difference is not there. What releases of
Python do differently is stated once for all guests and natives, by the release that changed it.
A row of `LACKING` whose reason begins with "Defect" is one that this project could mend.
"""

from dataclasses import dataclass

from tests.cases.told import Part

Version = tuple[int, ...]

MESSAGE = frozenset({Part.MESSAGE})
OUTPUT = frozenset({Part.OUTPUT})
ERROR = frozenset({Part.ERROR})
# The guest ends with an exception where native Python goes on, or with another one elsewhere.
ENDS = frozenset({Part.ERROR, Part.MESSAGE, Part.FRAMES})
ENDS_EARLY = ENDS | OUTPUT

ALL = frozenset({"core", "python313", "data"})
PYODIDE = frozenset({"core", "python313"})
OLDER = frozenset({"python313"})
WASI = frozenset({"data"})
NATIVE = frozenset({"native-core"})
EVERY = ALL | NATIVE


@dataclass(frozen=True, slots=True)
class Changed:
    """
    A release of Python, `since`, that changed `parts` of what `program` tells.
    """

    program: str
    since: Version
    parts: frozenset[Part]
    reason: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """
    What the guests of `images` do otherwise than every native Python.
    """

    program: str
    images: frozenset[str]
    parts: frozenset[Part]
    reason: str


CHANGED = (
    Changed("builtins/min_max_sum", (3, 12), MESSAGE, "The empty iterable is worded anew."),
    Changed("builtins/set_operations", (3, 14), MESSAGE, "What was to be hashed for is said."),
    Changed("compression/tar_traversal", (3, 11, 4), ENDS_EARLY, "Filters of tarfile are new."),
    Changed("compression/tarfile_archive", (3, 11, 4), ENDS_EARLY, "Filters of tarfile are new."),
    Changed("compression/tar_not_an_archive", (3, 14), MESSAGE, "Zstandard is tried as well."),
    Changed("containers/userdict_abc", (3, 12), MESSAGE, "The abstract method is in quotes."),
    Changed("dates/date_arithmetic", (3, 14), MESSAGE, "The range of days is told."),
    Changed("errors/attribute_suggestion", (3, 12), OUTPUT, "traceback suggests names itself."),
    Changed("errors/attribute_suggestion", (3, 15), OUTPUT, "The suggestion is worded anew."),
    Changed("errors/date_mistakes", (3, 14), OUTPUT, "The value out of range is told."),
    Changed("errors/generic_exception_repr", (3, 15), OUTPUT, "ImportError shows its name."),
    Changed("errors/name_error", (3, 12), OUTPUT, "traceback suggests names itself."),
    Changed("errors/type_error_call", (3, 15), OUTPUT, "The star's value is worded anew."),
    Changed("errors/type_error_operands", (3, 14), OUTPUT, "`in` asks for a container."),
    Changed("errors/unpack_mismatch", (3, 14), MESSAGE, "The number of values is told."),
    Changed("files/pathlib_parts", (3, 12), MESSAGE, "The message was shortened."),
    Changed("formats/struct_packing", (3, 12), MESSAGE, "One message for all formats."),
    Changed("hashes/hmac_signing", (3, 13), MESSAGE, "The C function words it."),
    Changed("language/slots_and_weak", (3, 13), MESSAGE, "The missing __dict__ is told."),
    Changed("numbers/math_functions", (3, 14), MESSAGE, "The domain of sqrt is told."),
    Changed("numbers/sum_of_floats", (3, 12), OUTPUT, "Sums of floats are compensated."),
    Changed("regex/broken_pattern", (3, 13), ERROR, "re.error is named PatternError."),
    Changed("regex/substitution", (3, 13), ERROR, "re.error is named PatternError."),
    Changed("tools/ast_transform", (3, 14), MESSAGE, "Nodes of a tree have a repr."),
)

_32_BITS = "The guest is a machine of 32 bits."
_ONE_THREAD = "The guest has one thread, and says what to do instead."
_ONE_PROCESS = "The guest has one process and starts no other."
_NO_SQLITE = "The image has no sqlite3, which its Pyodide distributes apart."
_NO_LZMA = "The image has no lzma, which its Pyodide distributes apart."
_PLAIN_DECIMAL = "The guest's decimal is the one written in Python."

LACKING = (
    Lacking("asyncio/run_inside_run", EVERY, OUTPUT, "Our loop lets asyncio.run nest, on purpose."),
    Lacking("builtins/hash_width", ALL, OUTPUT, _32_BITS),
    Lacking("builtins/huge_lengths", ALL, ENDS | {Part.VALUE}, _32_BITS),
    Lacking("compression/lzma_files", OLDER, ENDS_EARLY, _NO_LZMA),
    Lacking("compression/lzma_filters", OLDER, ENDS_EARLY, _NO_LZMA),
    Lacking("compression/tar_not_an_archive", OLDER, MESSAGE, _NO_LZMA),
    Lacking("compression/tar_xz", OLDER, ENDS_EARLY, _NO_LZMA),
    Lacking("files/access_time", ALL, OUTPUT, "The times of access are not kept."),
    Lacking("files/disk_usage", WASI, ENDS_EARLY, "WASI does not tell the size of a disk."),
    Lacking(
        "files/empty_path",
        WASI,
        OUTPUT | ERROR | MESSAGE,
        "The guest's C library takes an empty name for the working directory.",
    ),
    Lacking(
        "files/exclusive_descriptor",
        WASI,
        ERROR | MESSAGE,
        "In WASI's C library O_RDONLY is not zero: an access mode must be named.",
    ),
    Lacking("files/mmap_file", ALL, ENDS_EARLY, "Files are not mapped; they can be read."),
    Lacking("files/permission_bits", WASI, OUTPUT, "WASI has no bits of permission."),
    Lacking("files/shelve_store", PYODIDE, ENDS_EARLY, "Pyodide leaves dbm out of its library."),
    Lacking("files/symbolic_links", ALL, MESSAGE, "The guest's C library words ELOOP so."),
    Lacking("hashes/digests", WASI, MESSAGE, "hashlib words it so where it has no OpenSSL."),
    Lacking("numbers/decimal_context", WASI, OUTPUT | MESSAGE, _PLAIN_DECIMAL),
    Lacking("numbers/decimal_money", WASI, MESSAGE, _PLAIN_DECIMAL),
    Lacking("numbers/float_power_overflow", ALL, MESSAGE, "ERANGE has WASI's number and words."),
    Lacking("refusals/fork", EVERY, OUTPUT, _ONE_PROCESS),
    Lacking("refusals/os_system", EVERY, OUTPUT, _ONE_PROCESS),
    Lacking("refusals/process_pool", EVERY, OUTPUT, _ONE_PROCESS),
    Lacking("refusals/signal_alarm", ALL, OUTPUT, "The guest has no timer that signals."),
    Lacking("refusals/subprocess_run", EVERY, OUTPUT, _ONE_PROCESS),
    Lacking("refusals/thread_pool", ALL, OUTPUT, _ONE_THREAD),
    Lacking("refusals/thread_start", ALL, OUTPUT, _ONE_THREAD),
    Lacking("sqlite/blobs_and_types", OLDER, ENDS_EARLY, _NO_SQLITE),
    Lacking("sqlite/create_query", OLDER, ENDS_EARLY, _NO_SQLITE),
    Lacking("sqlite/file_database", OLDER, ENDS_EARLY, _NO_SQLITE),
    Lacking("sqlite/rows_and_functions", OLDER, ENDS_EARLY, _NO_SQLITE),
    Lacking("sqlite/transactions", OLDER, ENDS_EARLY, _NO_SQLITE),
    Lacking("sqlite/windows_and_ctes", OLDER, ENDS_EARLY, _NO_SQLITE),
    Lacking("sqlite/wrong_parameters", OLDER, ENDS_EARLY, _NO_SQLITE),
)


def expected(program: str, image: str, guest: Version, native: Version) -> frozenset[Part]:
    """
    The parts in which `program` is to differ between a guest and a native Python.
    """
    low, high = sorted((guest, native))
    changed = [row.parts for row in CHANGED if row.program == program and low < row.since <= high]
    lacking = [row.parts for row in LACKING if row.program == program and image in row.images]
    return frozenset().union(*changed, *lacking)


def table() -> str:
    """
    The rows of `LACKING` as a table in Markdown: what each cage does otherwise than plain Python.
    """
    lines = ["| program | wasm | process | why |", "| --- | --- | --- | --- |"]
    for row in LACKING:
        wasm = ", ".join(sorted(row.images & ALL)) if row.images & ALL != ALL else "all"
        cages = (wasm or "-", "all" if row.images & NATIVE else "-")
        lines.append(f"| {row.program} | {cages[0]} | {cages[1]} | {row.reason} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
