# Exceptions keep their cause and context, and `from None` hides it.
class ConfigError(Exception):
    pass


def load(text, hide=False):
    try:
        return int(text)
    except ValueError as error:
        if hide:
            raise ConfigError("bad number") from None
        raise ConfigError(f"bad number: {text}") from error


for hide in (False, True):
    try:
        load("12x", hide)
    except ConfigError as error:
        print(
            error,
            "|",
            repr(error.__cause__),
            "|",
            error.__suppress_context__,
            type(error.__context__).__name__,
        )
try:
    try:
        {}["a"]
    except KeyError:
        undefined_name
except NameError as error:
    print(repr(error.__context__), error.name)
