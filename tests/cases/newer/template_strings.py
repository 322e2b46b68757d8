# Template strings keep their parts.
# Needs Python 3.14.
name, n = "<b>", 3


def html(template):
    return "".join(
        part if isinstance(part, str) else str(part.value).replace("<", "&lt;").replace(">", "&gt;")
        for part in template
    )


t = t"hello {name}, {n:>3}!"
print(html(t), t.strings, t.values, t.interpolations[1].format_spec, t.interpolations[0].expression)
# Writes:
# hello &lt;b&gt;, 3! ('hello ', ', ', '!') ('<b>', 3) >3 name
