# print joins, ends, and writes to any stream.
import io
import sys

print(1, "a", None, [1, "b"], sep=" | ", end=" <end>\n")
print(*"abc", sep="")
out = io.StringIO()
print("to a file", 2.50, file=out)
sys.stdout.write(out.getvalue())
print()
print("\tünïcode ✓ 日本 🐍", "a\\b", repr("a\n'\""), ascii("é🐍"))
