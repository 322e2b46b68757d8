"""
A session for collectors of OpenTelemetry, and one call of the sender.
"""

from audit_world import draft
from review_world import world

from executor.audit.record import Event
from executor.audit.review.collector import collector
from executor.audit.review.tracing import Sent, Trace

DECISIONS = 6


def ended_world(labels="{}"):
    """
    The world's session, with a cell and an end that say which record they end.
    """
    drafts = world()
    detail = (("policy", "notebook"), ("image", "core"), ("labels", labels), ("start_us", 2000))
    drafts[1] = draft(Event.SESSION_CREATE, detail=detail)
    used = (("wall_us", 1500), ("denied", 1), ("peak_memory", 2**25))
    drafts[10] = draft(Event.CELL_END, cell=1, refers=3, outcome="error", detail=used)
    drafts[15] = draft(Event.SESSION_END, refers=2, outcome="closed by the client")
    return drafts


def send(path, url, **options):
    """
    One call of the sender; how it went.
    """
    sent = Sent(options.pop("after", 0))
    to = collector(url)
    try:
        Trace(path, to, sent).send()
    finally:
        to.close()
    return sent
