# Small word puzzles: palindromes, anagrams, vowels, Caesar's cipher.
from collections import Counter


def shift(text, by):
    return "".join(
        chr((ord(c) - 65 + by) % 26 + 65)
        if c.isupper()
        else chr((ord(c) - 97 + by) % 26 + 97)
        if c.islower()
        else c
        for c in text
    )


secret = shift("Veni, vidi, vici", 7)
print(secret, shift(secret, -7))
phrase = "A man, a plan, a canal: Panama"
letters = [c.lower() for c in phrase if c.isalnum()]
print(letters == letters[::-1], Counter(letters).most_common(2), sum(c in "aeiou" for c in letters))
groups = {}
for word in "listen silent enlist google elgoog abc".split():
    groups.setdefault("".join(sorted(word)), []).append(word)
print([g for g in groups.values() if len(g) > 1])
