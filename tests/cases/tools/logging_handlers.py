# Loggers format, filter by level, inherit, and report exceptions.
import io
import logging

out = io.StringIO()
handler = logging.StreamHandler(out)
handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(handler)
log.propagate = False
child = log.getChild("db")
log.debug("hidden")
child.warning("slow %s: %d ms", "query", 120)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
log.log(25, "between")
text = out.getvalue()
print(
    text.splitlines()[0],
    text.splitlines()[1],
    text.splitlines()[-2:],
    child.getEffectiveLevel(),
    logging.getLevelName(40),
    log.isEnabledFor(10),
)
