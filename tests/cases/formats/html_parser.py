# HTML is escaped, unescaped, and scraped with the standard parser.
import html
from html.parser import HTMLParser

page = '<html><body><h1>Hi &amp; bye</h1><a href="/x?a=1&amp;b=2">one</a><br/><a href="y">two <b>bold</b></a><!-- no --></body></html>'


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.text, self.depth = [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        self.text.append(data)


p = Links()
p.feed(page)
print(
    p.links,
    "".join(p.text),
    html.escape('<a href="x">\'&'),
    html.unescape("&eacute;&#8364;&lt;&nbsp;x&notanentity;"),
)
