# contextlib builds managers from generators, and stacks them.
import contextlib
import io


@contextlib.contextmanager
def setting(store, key, value):
    old = store.get(key)
    store[key] = value
    try:
        yield store
    finally:
        store[key] = old


config = {"level": 1}
with contextlib.ExitStack() as stack:
    for level in (2, 3):
        stack.enter_context(setting(config, "level", level))
        stack.callback(print, "leaving", level)
    print(config)
print(config)
with contextlib.suppress(FileNotFoundError), contextlib.redirect_stdout(io.StringIO()) as caught:
    print("hidden")
    open("no-such-file")
print(repr(caught.getvalue()))
with contextlib.nullcontext(5) as five, contextlib.closing(io.BytesIO(b"x")) as stream:
    print(five, stream.read())
print(stream.closed)
