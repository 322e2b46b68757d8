"""
What a guest wrote, on a person's terminal.

A terminal obeys what it is shown: an escape sequence can rewrite the lines above, set the title,
write the clipboard (OSC 52) or hide where a link leads, and a right-to-left mark can turn the
order of a line around. So on a terminal every character that acts, rather than shows, is shown
as its escape. What goes into a file or a pipe stays as it was written.
Source: ECMA-48 for the control functions, Unicode Standard Annex 9 for the direction marks.
"""

import unicodedata
from typing import TextIO

from agent_client.displays import Display
from agent_client.events import Stream
from agent_client.observation import Observation

_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# The joiner holds the parts of one emoji together, and does nothing else.
_HARMLESS = frozenset("\n\t\N{ZERO WIDTH JOINER}")


def visible(text: str) -> str:
    """
    `text` with every character that a terminal or a reader's eye would obey as its escape.

    Newline and tab stay. The text is not meant to be read back: a backslash stays one, too.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in _HARMLESS or unicodedata.category(char) not in _ACTING:
        return char
    return char.encode("unicode_escape").decode("ascii")


class Printer:
    """
    Prints a cell as it runs: what the guest wrote to where it wrote it, the value to `out`, and
    what else there is to say to `err`.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._files = {Stream.STDOUT: out, Stream.STDERR: err}
        self._at_start = dict.fromkeys(Stream, True)
        self._shown = 0

    def output(self, stream: str, text: str) -> None:
        """
        Print output; this is what `Session.run` takes as `on_output`.
        """
        self._write(Stream(stream), text)

    def display(self, shown: Display) -> None:
        """
        Print what can be read of what was shown, and what else there is; this is what
        `Session.run` takes as `on_display`.
        """
        self._shown += 1
        if shown.text:
            self._line(Stream.STDOUT, shown.text)
        if mark := shown.mark():
            self._line(Stream.STDERR, mark)

    def finish(self, observation: Observation) -> None:
        """
        Print what came after the output: what was shown and is not printed yet, the value, the
        exception, and what else is to be said.
        """
        for shown in observation.displays[self._shown :]:
            self.display(shown)
        if observation.value is not None and not self._has_shown(observation):
            self._line(Stream.STDOUT, observation.value)
        if error := observation.error:
            self._line(Stream.STDERR, error.traceback or f"{error.name}: {error.message}")
        for mark in observation.marks():
            self._line(Stream.STDERR, mark)
        for stream, file in self._files.items():
            if file.isatty() and not self._at_start[stream]:
                self._write(stream, "\n")

    @staticmethod
    def _has_shown(observation: Observation) -> bool:
        return any(shown.text == observation.value for shown in observation.displays)

    def _line(self, stream: Stream, text: str) -> None:
        if not self._at_start[stream]:
            self._write(stream, "\n")
        self._write(stream, text.removesuffix("\n") + "\n")

    def _write(self, stream: Stream, text: str) -> None:
        file = self._files[stream]
        file.write(visible(text) if file.isatty() else text)
        file.flush()
        self._at_start[stream] = text.endswith("\n")
