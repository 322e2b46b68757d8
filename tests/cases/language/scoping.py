# Names are looked up in local, enclosing, global and builtin scope, in that order.
level = "global"


def outer():
    level = "outer"

    class Body:
        level = "class"

        def method(self):
            return level

    def inner():
        global level
        level = "changed"
        return len(level)

    return Body().method(), inner(), level


print(outer(), level)


def shadow():
    sum = lambda values: "shadowed"
    return sum([1, 2])


print(shadow(), sum([1, 2]))
exec("level = 'exec'", space := {})
print(space["level"], level, "level" in globals(), eval("level + '!'", {"level": "own"}))
