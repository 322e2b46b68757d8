# INI files have sections, defaults, interpolation and typed values.
import configparser
import io

text = "[DEFAULT]\nbase = /srv\n[web]\nport = 8080\ndebug = yes\nroot = %(base)s/www\nratio: 0.5\nmulti =\n  a\n  b\n"
c = configparser.ConfigParser()
c.read_string(text)
print(
    c.sections(),
    c.getint("web", "port") + 1,
    c["web"].getboolean("debug"),
    c["web"]["root"],
    c.getfloat("web", "ratio"),
    c["web"]["multi"].split(),
    c.get("web", "none", fallback="-"),
)
c["new"] = {"k": "v"}
c.remove_section("web")
out = io.StringIO()
c.write(out)
print(out.getvalue())
c.get("new", "absent")
