# basicConfig writes to a file, with filters and extra fields.
import logging
import logging.handlers

logging.basicConfig(
    filename="app.log",
    level="DEBUG",
    format="{levelname:<8}|{message}|{who}",
    style="{",
    force=True,
)


class Who(logging.Filter):
    def filter(self, record):
        record.who = getattr(record, "who", "nobody")
        return "secret" not in record.getMessage()


logging.getLogger().handlers[0].addFilter(Who())
logging.info("started", extra={"who": "ann"})
logging.error("secret thing")
logging.debug("x=%(x)s", {"x": 5})
logging.shutdown()
print(open("app.log").read())
memory = logging.handlers.MemoryHandler(10)
logging.getLogger("m").addHandler(memory)
logging.getLogger("m").warning("kept")
print([r.getMessage() for r in memory.buffer])
