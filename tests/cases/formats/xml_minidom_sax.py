# minidom prints prettily, sax streams events, iterparse reads as it goes.
import io
import xml.etree.ElementTree as ET
import xml.sax
from xml.dom import minidom
from xml.sax.saxutils import escape, quoteattr

doc = minidom.parseString('<a x="1"><b>text</b><!-- c --><b/></a>')
print(
    doc.toprettyxml(indent="  "),
    len(doc.getElementsByTagName("b")),
    doc.documentElement.getAttribute("x"),
)


class Count(xml.sax.ContentHandler):
    def __init__(self):
        self.names = []

    def startElement(self, name, attrs):
        self.names.append((name, dict(attrs)))


handler = Count()
xml.sax.parseString(b"<r><c k='v'/></r>", handler)
print(
    handler.names,
    escape("<a & b>"),
    quoteattr('say "hi"'),
    [(e, x.tag) for e, x in ET.iterparse(io.BytesIO(b"<p><q/></p>"), ("start", "end"))],
)
