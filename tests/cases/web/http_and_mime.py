# HTTP statuses, cookies, message headers and types of files.
import http
import mimetypes
from http.cookies import SimpleCookie

print(
    http.HTTPStatus(404).phrase,
    http.HTTPStatus.OK == 200,
    http.HTTPMethod.GET,
    mimetypes.guess_type("a.csv"),
    mimetypes.guess_type("x.tar.gz"),
    mimetypes.guess_extension("image/png"),
    mimetypes.guess_type("noidea.zzz"),
)
c = SimpleCookie("a=1; b=two")
c["s"] = "v w"
c["s"]["path"] = "/"
c["s"]["httponly"] = True
print(c["b"].value, c["s"].OutputString(), sorted(c))
http.HTTPStatus(799)
