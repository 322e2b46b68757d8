# Unicode: normal forms, names, categories, and lengths in code points.
import unicodedata

composed, split = "é", "e\u0301"
print(
    len(composed),
    len(split),
    composed == split,
    unicodedata.normalize("NFC", split) == composed,
    len(unicodedata.normalize("NFKD", "ﬁ①é")),
)
print(
    [unicodedata.name(c, "?") for c in "a€ß中"],
    [unicodedata.category(c) for c in "aA1 _€\n"],
    unicodedata.numeric("½"),
)
plain = "".join(
    c for c in unicodedata.normalize("NFD", "Crème Brûlée Ångström") if not unicodedata.combining(c)
)
print(
    plain,
    unicodedata.lookup("SNOWMAN"),
    unicodedata.east_asian_width("中"),
    unicodedata.bidirectional("א"),
)
