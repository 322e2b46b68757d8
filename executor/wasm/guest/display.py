"""
What a cell wants shown besides text: runs inside the cage, like the runtime that loads it.

`display(thing)` and a cell's last expression ask an object for its forms by the methods that
Jupyter made common, and write them, as bytes by media type, to a device of the host's. Nothing of
matplotlib is imported here: it is told by its environment to take its backend from the module
`codecage_figures`, which exists when it is asked for.

Figures are Jupyter's: `plt.show()` shows and closes what is open, and so does the end of a cell,
unless it was interrupted. A figure that the cell has shown already is not shown twice.
"""

import base64
import binascii
import builtins
import io
import json
import os
import sys
from importlib.machinery import ModuleSpec

DEVICE = "/dev/display"
TEXT_MAX = 2**16
# In the order in which they are asked for.
METHODS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/pdf": "_repr_pdf_",
    "application/json": "_repr_json_",
    "application/javascript": "_repr_javascript_",
}
BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")

# What matplotlib calls the forms of a figure that can be asked for.
DRAWN = {
    "image/png": "png", "image/svg+xml": "svg", "image/jpeg": "jpeg", "application/pdf": "pdf",
}  # fmt: skip

# The figures that this cell has shown, and the forms that figures have from here on.
_shown = []
_drawn = ["image/png"]


def display(*objects, include=None, exclude=None, raw=False, **_):
    """
    Show objects in the richest forms that they have; with `raw`, mappings of media type to data.

    The other arguments that Jupyter's function has are taken and change nothing.
    """
    for thing in objects:
        forms = encoded(thing) if raw else {**plain_form(thing), **rich_forms(thing, include)}
        send(selected(forms, include, exclude))


def show_value(thing, text):
    """The value of a cell's last expression, whose repr is `text`, where it is more than text."""
    quietly(lambda: present(thing, text))


def end_cell(interrupted):
    """Show the figures that the cell has left open, and close them."""
    figures = sys.modules.get(Figures.NAME)
    try:
        if figures is not None:
            quietly(lambda: figures.finish(not interrupted))
    except BaseException:
        # An interrupt while they are drawn.
        figures.finish(False)
        raise
    finally:
        _shown.clear()


def present(thing, text):
    forms = rich_forms(thing)
    if forms:
        send({**forms, "text/plain": text_bytes(text)})


def quietly(act):
    """What goes wrong where nobody asked to show anything is told, and does not end the cell."""
    try:
        act()
    except Exception as error:
        try:
            reason = f"{type(error).__name__}: {error}"
        except Exception:
            reason = type.__dict__["__name__"].__get__(type(error))
        print(f"[not displayed: {reason}]", file=sys.stderr)


# ---- forms ---------------------------------------------------------------------------------------


def rich_forms(thing, include=None):
    """The forms of an object but its repr, as bytes by media type; of figures, those to include."""
    if is_figure(thing):
        _shown.append(thing)
        kinds = [kind for kind in DRAWN if kind in include] if include else _drawn
        return {kind: drawn(thing, DRAWN[kind]) for kind in kinds}
    forms = encoded(asked(thing, "_repr_mimebundle_", include=None, exclude=None) or {})
    for kind, name in METHODS.items():
        # One picture is enough, and the one without losses is the one to have.
        if kind in forms or (kind == "image/jpeg" and "image/png" in forms):
            continue
        data = asked(thing, name)
        if data is not None:
            forms[kind] = form(kind, data)
    return forms


def asked(thing, name, **options):
    """
    What a method of the object's class returns, without metadata, or None.

    Of its class, as for the language's own methods: objects that answer to every name are not
    asked, and a class that is shown itself is not taken for one of its instances.
    """
    method = getattr(type(thing), name, None)
    if not callable(method):
        return None
    try:
        data = method(thing, **options)
    except NotImplementedError:
        return None
    return data[0] if isinstance(data, tuple) and len(data) == 2 else data


def encoded(bundle):
    if not isinstance(bundle, dict):
        raise TypeError(f"forms by media type are a dict, not {type(bundle).__name__}")
    return {kind: form(kind, data) for kind, data in bundle.items() if data is not None}


def form(kind, data):
    """The bytes of a form: bytes as they are, text in UTF-8, JSON written out."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, str):
        return image_bytes(kind, data) if kind in BINARY else text_bytes(data)
    if kind.endswith(("/json", "+json")):
        return json.dumps(data).encode()
    raise TypeError(f"a form {kind} is bytes or text, not {type(data).__name__}")


def image_bytes(kind, data):
    """Objects made for Jupyter may give pictures in Base64, which is how it sends them."""
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a form {kind} that is text has to be Base64") from None


def plain_form(thing):
    return {"text/plain": text_bytes(repr(thing)[:TEXT_MAX])}


def text_bytes(text):
    return str.join("", (text,)).encode("utf-8", "backslashreplace")


def selected(forms, include, exclude):
    kept = dict(forms)
    if include is not None:
        kept = {kind: data for kind, data in kept.items() if kind in include}
    return {kind: data for kind, data in kept.items() if kind not in (exclude or ())}


def send(forms):
    """Write one bundle to the device. Raises OSError, which says what is allowed."""
    if not forms:
        return
    flush()
    lengths = [[kind, len(data)] for kind, data in forms.items()]
    rest = memoryview(json.dumps(lengths).encode() + b"\n" + b"".join(forms.values()))
    descriptor = os.open(DEVICE, os.O_WRONLY)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def flush():
    """What was printed before is to be seen before."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            # The cell may have closed or replaced it.
            pass


# ---- figures -------------------------------------------------------------------------------------


def is_figure(thing):
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(thing, getattr(module, "Figure", ()))


def drawn(figure, kind):
    """A figure as PNG or another kind, cut to what is drawn, as notebooks do."""
    data = io.BytesIO()
    figure.savefig(data, format=kind, bbox_inches="tight")
    return data.getvalue()


def draw_as(names):
    """Have figures drawn in these forms, by matplotlib's names, from now on."""
    kinds = [kind for kind, name in DRAWN.items() if name in names]
    if "retina" in names or "png2x" in names:
        kinds = kinds or ["image/png"]
    if not kinds:
        known = ", ".join(DRAWN.values())
        raise ValueError(f"figures cannot be drawn as {' '.join(names) or 'nothing'}; give {known}")
    _drawn[:] = kinds


class Figures:
    """The finder and the loader of matplotlib's backend."""

    NAME = "codecage_figures"

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return ModuleSpec(name, cls) if name == cls.NAME else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        from matplotlib._pylab_helpers import Gcf
        from matplotlib.backend_bases import FigureManagerBase
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        class FigureManager(FigureManagerBase):
            """A manager for whom to show a figure is to display it."""

            def show(self):
                display(self.canvas.figure)

            @classmethod
            def pyplot_show(cls, *, block=None):
                show()

        class FigureCanvas(FigureCanvasAgg):
            """The canvas that draws into memory."""

            manager_class = FigureManager

        def managers():
            # Whoever asked for another backend has what that one does.
            return [one for one in Gcf.get_all_fig_managers() if isinstance(one, FigureManager)]

        def closed():
            """The open figures that hold something, each closed before it is given."""
            for manager in managers():
                Gcf.destroy(manager)
                figure = manager.canvas.figure
                # Its own background is one of its children.
                if len(figure.get_children()) > 1:
                    yield figure

        def show(*_, **__):
            """Display the open figures, and close them."""
            for figure in closed():
                display(figure)

        def finish(shows):
            """Close the open figures; with `shows`, display those that have not been."""
            for figure in closed():
                if shows and not any(figure is one for one in _shown):
                    quietly(lambda: display(figure))

        for item in (FigureManager, FigureCanvas, show, finish):
            setattr(module, item.__name__, item)


def install():
    builtins.display = display
    sys.meta_path.append(Figures)
