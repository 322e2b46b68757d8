# Case mapping and sorting of text beyond ASCII.
words = ["Zebra", "äpfel", "Apfel", "zoo", "Éclair", "éclair", "ǆ", "İ"]
print(sorted(words), sorted(words, key=str.casefold))
print([w.upper() for w in words], [w.lower() for w in words], [w.capitalize() for w in words])
print(
    "ΑΣ".lower(),
    "ﬀ".upper(),
    "groß".casefold() == "GROSS".casefold(),
    "🐍" * 2,
    "👩‍👩‍👧"[0],
    len("👩‍👩‍👧"),
)
