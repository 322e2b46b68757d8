# An exception of one's own with fields, a message and a hierarchy.
class AppError(Exception):
    """The base of this program's errors."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code

    def __str__(self):
        return f"[{self.code}] {super().__str__()}"


class NotReady(AppError):
    pass


try:
    raise NotReady("wait", 7)
except AppError as error:
    print(repr(error), error.code, error.args)
raise NotReady("still waiting", 8)
