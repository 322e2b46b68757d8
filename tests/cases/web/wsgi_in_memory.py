# A WSGI application is called without a server.
from wsgiref.headers import Headers
from wsgiref.util import setup_testing_defaults


def app(environ, start_response):
    status = "200 OK" if environ["PATH_INFO"] == "/" else "404 Not Found"
    start_response(status, [("Content-Type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode(), b" done"]


for path in ("/", "/x"):
    environ, seen = {"PATH_INFO": path}, []
    setup_testing_defaults(environ)
    body = b"".join(app(environ, lambda *a: seen.append(a)))
    print(seen, body)
h = Headers([("A", "1")])
h.add_header("Content-Disposition", "attachment", filename="b.txt")
print(h.items(), h["a"])
