# A name with two underscores is private to its class.
class Safe:
    def __init__(self):
        self.__code = 1234


print(Safe()._Safe__code)
Safe().__code
