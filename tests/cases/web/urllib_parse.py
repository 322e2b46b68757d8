# Addresses are taken apart, joined, quoted and built.
from urllib.parse import (
    parse_qs,
    parse_qsl,
    quote,
    quote_plus,
    unquote,
    urlencode,
    urljoin,
    urlparse,
    urlsplit,
    urlunparse,
)

u = urlparse("https://user:pw@example.org:8443/a/b;p?q=1&q=2&e=#frag")
print(
    u,
    u.hostname,
    u.port,
    u.username,
    parse_qs(u.query),
    parse_qsl(u.query, keep_blank_values=True),
    u._replace(scheme="http").geturl(),
)
print(
    urljoin("http://a/b/c/d", "../x?y"),
    urljoin("http://a/b", "//c/d"),
    quote("a b/ü&"),
    quote_plus("a b/ü&"),
    unquote("%C3%BC+"),
    urlencode({"a": [1, 2], "b": "x y"}, doseq=True),
    urlsplit("//host/p").netloc,
    urlunparse(("s", "h", "/p", "", "q", "")),
)
urlparse("http://h:99999").port
