# Functions made in a loop share its variable unless a default binds it.
late = [lambda: i for i in range(3)]
bound = [lambda i=i: i for i in range(3)]
print([f() for f in late], [f() for f in bound])
handlers = {}
for name in ("load", "save"):

    def handler(what, action=name):
        return f"{action} {what}"

    handlers[name] = handler
print(handlers["load"]("a.csv"), handlers["save"]("b.csv"), name)
