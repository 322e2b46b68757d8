# string.Template fills in names, and complains about missing ones.
import string

t = string.Template("Dear $name, you owe $$${amount}. $missing")
print(t.safe_substitute(name="Ann", amount=5))
print(
    string.ascii_lowercase[:5],
    string.digits,
    string.punctuation[:8],
    string.capwords("the end of it"),
)


class Percent(string.Template):
    delimiter = "%"


print(Percent("%who did %what").substitute(who="Bob", what="it"))
t.substitute(name="Ann", amount=1)
