# textwrap fills, dedents, indents and shortens paragraphs.
import textwrap

text = "The quick brown fox jumps over the lazy dog, and a-very-hyphenated-word follows it into the  night."
print(textwrap.fill(text, 30, initial_indent="* ", subsequent_indent="  "))
print(textwrap.wrap(text, 25, break_on_hyphens=False, max_lines=3, placeholder=" [...]"))
print(textwrap.shorten(text, 40, placeholder="…"))
block = """
    def f():
        return 1

    # end
"""
print(repr(textwrap.dedent(block)))
print(textwrap.indent("a\n\nb", "> ", lambda line: True))
