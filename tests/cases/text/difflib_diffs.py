# difflib compares texts, finds close words, and rates likeness.
import difflib

old = "alpha\nbeta\ngamma\ndelta\n".splitlines(keepends=True)
new = "alpha\nbetta\ngamma\nepsilon\ndelta\n".splitlines(keepends=True)
print("".join(difflib.unified_diff(old, new, "old.txt", "new.txt")))
print("".join(difflib.ndiff(old[:2], new[:2])))
print(
    difflib.get_close_matches("appel", ["ape", "apple", "peach", "puppy"]),
    round(difflib.SequenceMatcher(None, "private", "privet").ratio(), 4),
)
print(difflib.SequenceMatcher(None, "qabxcd", "abycdf").get_opcodes())
