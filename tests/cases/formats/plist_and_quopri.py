# Property lists, quoted-printable, and uu-free transfers.
import plistlib
import quopri
from datetime import datetime

data = {
    "name": "é",
    "n": 3,
    "f": 1.5,
    "ok": True,
    "when": datetime(2024, 1, 2),
    "raw": b"\x00\x01",
    "list": [1, "a"],
}
xml = plistlib.dumps(data)
print(
    plistlib.loads(xml) == data,
    plistlib.loads(plistlib.dumps(data, fmt=plistlib.FMT_BINARY)) == data,
    xml.count(b"<key>"),
)
print(quopri.encodestring("naïve=café".encode()), quopri.decodestring(b"a=3Db=C3=A9"))
