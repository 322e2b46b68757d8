"""
What is in a piece of HTML, as a browser's parser takes it apart.
"""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img"}


class Markup(HTMLParser):
    """
    `tags` and `attributes` in order; `classed` is each element that has a class, with its text.
    """

    def __init__(self, source):
        super().__init__()
        self.source, self.text = source, ""
        self.tags, self.attributes, self.classed = [], [], []
        self._open = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag in VOID:
            return
        kind = dict(attrs).get("class")
        self._open.append(None if kind is None else len(self.classed))
        if kind is not None:
            self.classed.append((kind, ""))

    def handle_endtag(self, _):
        self._open.pop()

    def handle_data(self, data):
        self.text += data
        for place in self._open:
            if place is not None:
                kind, words = self.classed[place]
                self.classed[place] = (kind, words + data)
