"""
What a cell showed besides text: a figure, a table, anything with more than one form.

The bytes are the guest's, as its text is. Pictures are safe to hand to a program that decodes
pictures; HTML, SVG and JavaScript may do anything in the browser that shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The media types that have a name for files, the richest form first.
SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/svg+xml": ".svg",
    "application/pdf": ".pdf",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/latex": ".tex",
    "application/json": ".json",
    "application/javascript": ".js",
    "text/plain": ".txt",
}
_TYPES = {suffix: kind for kind, suffix in SUFFIXES.items()} | {".jpeg": "image/jpeg"}
# What a model reads is the first of these.
_READABLE = ("text/markdown", "text/plain")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Display:
    """
    One thing that was shown: its forms, `data`, as bytes by media type. Text is UTF-8.
    """

    data: Mapping[str, bytes]

    @property
    def types(self) -> tuple[str, ...]:
        """
        The media types, the richest first.
        """
        known = [kind for kind in SUFFIXES if kind in self.data]
        return (*known, *sorted(self.data.keys() - SUFFIXES.keys()))

    @property
    def png(self) -> bytes | None:
        """
        The picture as PNG, None where there is none.
        """
        return self.data.get("image/png")

    @property
    def html(self) -> str | None:
        """
        The form for a browser, None where there is none. It may hold scripts of the guest's.
        """
        return self.text_of("text/html")

    @property
    def text(self) -> str | None:
        """
        The form to be read, as a model is given it: Markdown or plain; None where there is none.
        """
        return next(filter(None, map(self.text_of, _READABLE)), None)

    def text_of(self, media_type: str) -> str | None:
        r"""
        A form as text, None where there is none. Bytes that are not UTF-8 stand as `\xff`.
        """
        data = self.data.get(media_type)
        return None if data is None else data.decode("utf-8", "backslashreplace")

    def save(self, path: str | Path) -> None:
        """
        Write the form that the name's ending asks for, `.png` or `.html` for example, to a file.

        Raises InvalidRequest where the display has no such form, OSError as `open` does.
        """
        # The errors carry events, and a display is one.
        from agent_client.errors import InvalidRequest  # noqa: PLC0415

        path = Path(path)
        kind = _TYPES.get(path.suffix.lower(), "")
        if kind not in self.data:
            there = ", ".join(f"{kind} ({SUFFIXES.get(kind, 'in `data`')})" for kind in self.types)
            raise InvalidRequest(f"{path.name}: the display has no such form; it has {there}")
        path.write_bytes(self.data[kind])

    def save_all(self, directory: str | Path, name: str) -> tuple[Path, ...]:
        """
        Write every form that has an ending to `directory`, as `name.png` and so on.

        Files of these names are replaced; a link is, and not what it leads to. Raises OSError.
        """
        found = [kind for kind in self.types if kind in SUFFIXES]
        paths = tuple(Path(directory) / f"{name}{SUFFIXES[kind]}" for kind in found)
        for kind, path in zip(found, paths, strict=True):
            path.unlink(missing_ok=True)
            with path.open("xb") as file:
                file.write(self.data[kind])
        return paths

    def mark(self) -> str:
        """
        In brackets what it has besides what can be read, such as a picture's size; may be empty.
        """
        told = [_described(kind, self.data[kind]) for kind in self.types if kind not in _READABLE]
        return f"[{'; '.join(told)}]" if told else ""


def _described(kind: str, data: bytes) -> str:
    size = _picture_size(kind, data)
    return f"{kind}{f' {size[0]}x{size[1]}' if size else ''}, {len(data):,} bytes"


def _picture_size(kind: str, data: bytes) -> tuple[int, int] | None:
    """
    Width and height in pixels, from a PNG's first chunk (ISO 15948, 11.2.2); else None.
    """
    if kind != "image/png" or data[:8] != _PNG or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
