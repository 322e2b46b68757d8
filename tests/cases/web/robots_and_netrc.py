# robots.txt is read and obeyed.
from urllib.robotparser import RobotFileParser

r = RobotFileParser()
r.parse(
    ["User-agent: *", "Disallow: /private", "Crawl-delay: 5", "", "User-agent: good", "Allow: /"]
)
print(
    r.can_fetch("bot", "http://x/private/a"),
    r.can_fetch("bot", "http://x/a"),
    r.can_fetch("good", "http://x/private"),
    r.crawl_delay("bot"),
)
import urllib.request

q = urllib.request.Request("http://x/a?b=1", data=b"z", headers={"X-A": "1"})
print(q.get_method(), q.host, q.selector, q.header_items())
