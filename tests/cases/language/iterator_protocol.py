# A class iterates by __iter__ and __next__, or by __getitem__ alone.
class Countdown:
    def __init__(self, start):
        self.start = start

    def __iter__(self):
        return CountdownIterator(self.start)

    def __reversed__(self):
        return iter(range(1, self.start + 1))

    def __len__(self):
        return self.start


class CountdownIterator:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        return self.n + 1


class Old:
    def __getitem__(self, index):
        if index > 2:
            raise IndexError
        return index * 10


c = Countdown(3)
print(list(c), list(reversed(c)), 2 in c, max(c), list(zip(c, c)), bool(Countdown(0)))
print(list(Old()), 20 in Old(), list(iter(iter([1, 2, 0, 3]).__next__, 0)))
