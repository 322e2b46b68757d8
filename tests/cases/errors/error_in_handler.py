# An error while handling an error shows both.
def parse(text):
    return int(text)


def load(texts):
    for text in texts:
        try:
            parse(text)
        except ValueError:
            print(texts["bad"])


load(["1", "x"])
