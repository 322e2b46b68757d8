# __init_subclass__ and __class_getitem__ configure classes without a metaclass.
class Handler:
    handlers = []

    def __init_subclass__(cls, /, suffix=None, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.suffix = suffix or cls.__name__.lower()
        Handler.handlers.append(cls)

    def __class_getitem__(cls, suffix):
        return next(h for h in cls.handlers if h.suffix == suffix)


class Json(Handler):
    pass


class Table(Handler, suffix="tsv"):
    pass


print([h.suffix for h in Handler.handlers], Handler["tsv"].__name__, Handler["json"])
