# Generators chained into a pipeline read a source lazily.
seen = []


def numbers(text):
    for word in text.split():
        seen.append(word)
        yield int(word)


def running_mean(values):
    total = 0
    for count, value in enumerate(values, 1):
        total += value
        yield round(total / count, 3)


means = running_mean(n for n in numbers("4 8 15 16 23 42") if n % 2 == 0)
print(next(means), seen)
print(list(means), seen)
