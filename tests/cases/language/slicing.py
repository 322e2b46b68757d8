# Slices take, step, assign, delete and reach a custom __getitem__.
letters = list("abcdefgh")
print(letters[2:5], letters[::-2], letters[-3:], letters[10:], letters[:-1:3])
letters[1:4] = ["X"]
letters[::2] = "1234"[: len(letters[::2])]
print(letters)
del letters[1::2]
print(letters, slice(1, None, 2).indices(7))


class Grid:
    def __getitem__(self, key):
        return key


print(Grid()[1:2, ..., None], Grid()[::-1], "héllo"[::-1], bytes(range(6))[1:5:2], range(10)[2:9:3])
try:
    letters[::2] = [1, 2, 3, 4, 5]
except ValueError as error:
    print(error)
