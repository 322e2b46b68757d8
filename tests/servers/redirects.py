"""
Pages that send a client elsewhere.
"""

from tests.servers.sites import Answer, HttpServer, Page, Seen, answer

_PHRASES = {
    "301": "301 Moved Permanently",
    "302": "302 Found",
    "303": "303 See Other",
    "307": "307 Temporary Redirect",
    "308": "308 Permanent Redirect",
}


def redirect(seen: Seen, _: HttpServer) -> Answer:
    """
    `/redirect/STATUS?to=URL`.
    """
    return _to(seen.query["to"], seen.path.split("/")[2])


def hops(seen: Seen, _: HttpServer) -> Answer:
    """
    `/hops/N`: N redirects, each to the next, and then `arrived`.
    """
    left = int(seen.path.split("/")[2])
    return _to(f"/hops/{left - 1}", "302") if left else answer(b"arrived")


def ring(_: Seen, __: HttpServer) -> Answer:
    return _to("/ring", "302")


def _to(url: str, status: str) -> Answer:
    return answer(b"elsewhere", status=_PHRASES[status], fields={"Location": url})


PAGES: dict[str, Page] = {"redirect": redirect, "hops": hops, "ring": ring}
