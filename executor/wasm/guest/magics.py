"""
Notebook commands in a cell, `%time f()`, `!ls`, `f?`: runs inside the cage, like the runtime.

A cell comes here only when it is not Python, so no Python is ever changed, and cells without
commands pay nothing. Each command stands at the start of a statement, outside strings and
brackets; it is replaced in the syntax tree, at its own line, by a call of `notebook.py`, which
does it or says what to write instead. What is wrong elsewhere in the cell is still an error.
"""

import ast
import builtins
import keyword
import re

# The builtin by which a cell's tree reaches the commands; there once a cell has used one.
COMMANDS = "__notebook__"
PLACE = "__notebook_command_{}__"

LINE_END = re.compile(r"\r\n|\r|\n")
COMMAND = re.compile(
    r"(?P<indent>\s*)(?P<target>[A-Za-z_][\w.,\[\] ]*=\s*)?"
    r"(?:(?P<magic>%(?P<name>%?[A-Za-z_]\w*)(?P<rest>\s.*)?)|!!?(?!=)\s*(?P<line>\S.*))$"
)
# Written without its mark where a notebook lets one.
BARE = re.compile(r"(?P<indent>\s*)(?P<line>(?:pip3?|conda|python3? -m pip) install\s+\S.*)$")
OUTER = re.compile(r"\s*%%(?P<name>[A-Za-z_]\w*|!)(?P<rest>.*)$")
ASKED = re.compile(
    r"(?P<indent>\s*)(?:(?P<after>[A-Za-z_][\w.]*)\s?(?P<more>\??)\?|"
    r"\?(?P<much>\??)\s*(?P<of>[A-Za-z_][\w.]*))\s*;?\s*$"
)
TOKEN = re.compile(r"#.*|\"\"\"|'''|\"|'|[(\[{]|[)\]}]|\\$")
STRING_END = {
    quote: re.compile(rf"(?:\\.|(?!{quote})[^\\])*{quote}") for quote in ('"""', "'''", '"', "'")
}
# Cell commands whose body is Python, run where it stands; the others take it as a text.
AROUND = {"time", "capture"}


class Command:
    """A command of one line: `name` and `rest`, for `!` and `?` too, at line `number` of `text`."""

    def __init__(self, name, rest, number, text):
        self.name = name
        self.rest = rest.strip()
        self.number = number
        self.text = text


def tree(code, name, flags):
    """The cell's syntax tree with its commands replaced, or None where it has none."""
    lines = LINE_END.split(code)
    first = next(
        (n for n, line in enumerate(lines) if line.strip(" \t\f") and not is_comment(line)), 0
    )
    outer = OUTER.match(lines[first])
    if outer is not None and outer["name"] not in AROUND:
        body = "\n".join(lines[first + 1 :])
        command = Command("%" + outer["name"], outer["rest"], first + 1, lines[first])
        return ready([spoken("cell", command, body)])
    if outer is not None:
        lines[first] = outer["rest"].strip() if outer["name"] == "time" else ""
    found = extracted(lines)
    if outer is None and not found:
        return None
    made = compiled(lines, name, flags, code)
    body = Replacement(found, name).visit(made).body
    if outer is not None:
        command = Command(outer["name"], outer["rest"], first + 1, "%%" + outer["name"])
        body = surrounded(body, command)
    return ready(body)


def compiled(lines, name, flags, code):
    """The tree of the lines as they are now; an error shows the line as the cell has it."""
    try:
        text = "\n".join(lines)
        return compile(text, name, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        if error.lineno and error.text is not None:
            error.text = [*LINE_END.split(code), ""][error.lineno - 1]
        raise


def ready(body):
    setattr(builtins, COMMANDS, notebook)
    return ast.fix_missing_locations(ast.Module(body, []))


def is_comment(line):
    return line.lstrip().startswith("#")


# ---- finding them ------------------------------------------------------------------------------


def extracted(lines):
    """Take the commands out of `lines`, leaving names in their places; the commands in order."""
    found, state, number = [], Outside(), 0
    while number < len(lines):
        start = number
        command, text = (None, "") if state.within else command_at(lines, number)
        if command is None:
            state.read(lines[number])
            number += 1
            continue
        number = ended(lines, start)
        command.rest = " ".join([command.rest, *lines[start + 1 : number]]).replace("\\ ", " ")
        lines[start:number] = [text + PLACE.format(len(found))] + [""] * (number - start - 1)
        found.append(command)
    return found


def ended(lines, number):
    """The line after a command that begins at `number`: a backslash at a line's end joins the next."""
    while number < len(lines) - 1 and lines[number].endswith("\\"):
        number += 1
    return number + 1


def command_at(lines, number):
    """The command that a statement's first line is, or None, and what stays there before it."""
    line = lines[number]
    match = COMMAND.match(line)
    if match is not None:
        before = match["indent"] + (match["target"] or "")
        if match["magic"]:
            return Command(match["name"], match["rest"] or "", number + 1, line), before
        return Command("!", match["line"], number + 1, line), before
    match = BARE.match(line)
    if match is not None:
        return Command("!", match["line"], number + 1, line), match["indent"]
    match = ASKED.match(line)
    if match is not None and is_name(match["after"] or match["of"]):
        mark = "??" if match["more"] or match["much"] else "?"
        return Command(mark, match["after"] or match["of"], number + 1, line), match["indent"]
    return None, ""


def is_name(text):
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))


class Outside:
    """Whether the next line begins a statement, by the strings and brackets of those before it."""

    def __init__(self):
        self.depth = 0
        self.quote = ""
        self.joined = False

    @property
    def within(self):
        return self.depth > 0 or self.quote or self.joined

    def read(self, line):
        self.joined = False
        at = self.string(line, 0) if self.quote else 0
        while (token := TOKEN.search(line, at)) is not None:
            at = token.end()
            text = token[0]
            if text in STRING_END:
                self.quote = text
                at = self.string(line, at)
            elif text in "([{":
                self.depth += 1
            elif text in ")]}":
                self.depth = max(0, self.depth - 1)
            self.joined = text == "\\"

    def string(self, line, at):
        """Where the string that is open at `at` ends; the line's end where it goes on."""
        end = STRING_END[self.quote].match(line, at)
        if end is not None:
            self.quote = ""
            return end.end()
        if len(self.quote) == 1 and not line.endswith("\\"):
            self.quote = ""
        return len(line)


# ---- replacing them ----------------------------------------------------------------------------


class Replacement(ast.NodeTransformer):
    """Puts the calls where `extracted` left names, in the tree of the file `file`."""

    def __init__(self, commands, file):
        self._commands = {PLACE.format(n): command for n, command in enumerate(commands)}
        self._file = file

    def visit_Expr(self, node):
        command = self._commands.get(getattr(node.value, "id", ""))
        if command is not None and command.name == "!":
            return placed(ast.Expr(called("shell", constant(command.rest))), command)
        if command is None or command.name != "time":
            return self.generic_visit(node)
        inner = self._parsed(command)
        if len(inner) == 1 and isinstance(inner[0], ast.Expr):
            return placed(ast.Expr(between(inner[0].value)), command)
        return placed(ast.With([ast.withitem(called("timing"))], inner), command)

    def visit_Name(self, node):
        command = self._commands.get(node.id)
        return node if command is None else placed(self._value(command), command)

    def _value(self, command):
        """An expression that does the command."""
        if command.name == "time":
            inner = self._parsed(command)
            if len(inner) == 1 and isinstance(inner[0], ast.Expr):
                return between(inner[0].value)
            raise self._error("%time takes an expression here", command)
        if command.name in {"?", "??"}:
            thing = ast.parse(command.rest, mode="eval").body
            more = constant(command.name == "??")
            return called("about", thing, constant(command.rest), more)
        if command.name == "!":
            return called("shell", constant(command.rest), constant(True))
        return called("line", constant(command.name), constant(command.rest))

    def _parsed(self, command):
        try:
            return ast.parse(command.rest or "None").body
        except SyntaxError as error:
            raise self._error(error.msg, command) from None

    def _error(self, message, command):
        return SyntaxError(message, (self._file, command.number, None, command.text))


def placed(node, command):
    """The node with every part of it at the command's line."""
    end = len(command.text.encode())
    for part in ast.walk(node):
        if "lineno" in part._attributes:
            part.lineno = part.end_lineno = command.number
            part.col_offset, part.end_col_offset = 0, end
    return node


def spoken(function, command, body):
    given = (constant(command.name), constant(command.rest), constant(body))
    return placed(ast.Expr(called(function, *given)), command)


def between(expression):
    """The value of an expression, with the clock started before and stopped after."""
    parts = ast.Tuple([called("start"), expression, called("stop")], ast.Load())
    return ast.Subscript(parts, constant(1), ast.Load())


def surrounded(body, command):
    """The statements of a whole cell in the command that they follow."""
    if command.name == "capture":
        name = command.rest.partition(" ")[0]
        target = ast.Name(name, ast.Store()) if name.isidentifier() else None
        statement = ast.With([ast.withitem(called("capturing"), target)], body or [ast.Pass()])
        return [located(statement, command)]
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    if last is not None:
        # In a tuple of its own the value is still the cell's, and the clock stops after it.
        value = ast.Tuple([last.value, called("stop")], ast.Load())
        last = ast.Expr(ast.Subscript(value, constant(0), ast.Load()))
    end = last or ast.Expr(called("stop"))
    return [located(ast.Expr(called("start")), command), *body, located(end, command)]


def located(node, command):
    """The node with those parts of it at the command's line that are at none."""
    for part in ast.walk(node):
        if "lineno" in part._attributes and getattr(part, "lineno", None) is None:
            part.lineno = part.end_lineno = command.number
            part.col_offset = part.end_col_offset = 0
    return node


def called(function, *arguments):
    place = ast.Attribute(ast.Name(COMMANDS, ast.Load()), function, ast.Load())
    return ast.Call(place, list(arguments), [])


def constant(thing):
    return ast.Constant(thing)


# The functions that the tree calls: set by the runtime.
notebook = None
