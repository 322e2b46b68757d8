# CSV quotes what needs quotes, and reads it back by name.
import csv
import io

out = io.StringIO()
writer = csv.writer(out)
writer.writerows(
    [["id", "name", "note"], [1, 'Ann "A"', "a, b"], [2, "Bob", "two\nlines"], [3, None, ""]]
)
print(repr(out.getvalue()))
out.seek(0)
for row in csv.DictReader(out):
    print(row)
tabs = io.StringIO("x;y\n1;'a;b'\n")
print(
    list(csv.reader(tabs, delimiter=";", quotechar="'")),
    csv.Sniffer().sniff("a|b|c\n1|2|3\n").delimiter,
)
