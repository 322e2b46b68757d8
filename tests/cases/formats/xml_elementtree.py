# XML is parsed, searched, changed and written.
import xml.etree.ElementTree as ET

root = ET.fromstring(
    '<shop xmlns:x="urn:x"><item id="1" price="2.5">Tea</item><item id="2" price="4">Coffee &amp; milk</item><x:note>n</x:note></shop>'
)
print(
    root.tag,
    [(i.get("id"), i.text) for i in root.iter("item")],
    root.find("item[@id='2']").text,
    root.findtext("{urn:x}note"),
    sum(float(i.get("price")) for i in root.findall("item")),
)
new = ET.SubElement(root, "item", id="3")
new.text = "<Water>"
root.remove(root[0])
ET.indent(root)
print(ET.tostring(root, encoding="unicode"))
ET.fromstring("<a><b></a>")
