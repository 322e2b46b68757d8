# Error numbers have names, and OSError picks its class by them.
import errno
import os

print(
    errno.errorcode[errno.ENOENT],
    os.strerror(errno.EACCES),
    type(OSError(errno.EEXIST, "x")).__name__,
    type(OSError(errno.EPIPE, "x")).__name__,
    type(OSError(errno.ETIMEDOUT, "t")).__name__,
)
print(
    [
        type(OSError(getattr(errno, n), "")).__name__
        for n in ("EPERM", "EISDIR", "ENOTDIR", "ECHILD", "ECONNREFUSED", "EAGAIN", "EINVAL")
    ]
)
