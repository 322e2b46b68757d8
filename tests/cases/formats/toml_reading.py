# TOML is read into dates, tables and arrays.
import tomllib

text = """
title = "T"
when = 1979-05-27T07:32:00-08:00
[server]
ports = [ 8000, 8_001 ]
ratio = 1e-3
raw = 'C:\\x'
[[item]]
name = "a"
[[item]]
name = "b"
inline = {x = true, y.z = 0xff}
"""
data = tomllib.loads(text)
print(data["when"], data["server"], data["item"], data["title"])
print(tomllib.loads("a.b.c = 1\nd = [[1], ['x']]"), tomllib.loads('s = """\\\n  two\n  lines"""'))
