# A calculator from a tokenizer and recursive descent.
import re


def tokens(text):
    for number, op in re.findall(r"(\d+\.?\d*)|(\S)", text):
        yield ("n", float(number)) if number else ("o", op)
    yield ("end", None)


class Parser:
    def __init__(self, text):
        self.items = list(tokens(text))

    def take(self, *ops):
        if self.items[0][0] == "o" and self.items[0][1] in ops:
            return self.items.pop(0)[1]

    def expr(self):
        value = self.term()
        while op := self.take("+", "-"):
            value = value + self.term() if op == "+" else value - self.term()
        return value

    def term(self):
        value = self.atom()
        while op := self.take("*", "/"):
            value = value * self.atom() if op == "*" else value / self.atom()
        return value

    def atom(self):
        if self.take("("):
            value = self.expr()
            if not self.take(")"):
                raise SyntaxError("expected )")
            return value
        if self.take("-"):
            return -self.atom()
        kind, value = self.items.pop(0)
        if kind != "n":
            raise SyntaxError(f"unexpected {value!r}")
        return value


print([Parser(t).expr() for t in ("1+2*3", "(1+2)*3", "-4/2 - -1", "2*(3+(4-1))")])
Parser("2*(3+").expr()
