# Mail is composed with parts, and parsed with its headers.
import email
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime, formataddr, parseaddr, parsedate_to_datetime
import datetime

m = EmailMessage()
m["Subject"] = "Grüße"
m["From"] = formataddr(("Änn", "ann@example.org"))
m["To"] = "bob@example.org, cy@example.org"
m.set_content("Hello,\nthis is text.\n")
m.add_alternative("<p>Hello</p>", subtype="html")
m.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="a.bin")
back = email.message_from_bytes(bytes(m), policy=default)
print(
    back["subject"],
    back["from"],
    [a.addr_spec for a in back["to"].addresses],
    back.get_content_type(),
    [p.get_content_type() for p in back.walk()],
)
print(
    back.get_body(("plain",)).get_content(),
    [a.get_filename() for a in back.iter_attachments()],
    parseaddr("X Y <x@y.z>"),
    parsedate_to_datetime("Mon, 20 Nov 1995 19:12:08 -0500"),
    format_datetime(datetime.datetime(2024, 1, 2)),
)
