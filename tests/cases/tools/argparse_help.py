# The help of a parser is laid out, and -h ends the program.
import argparse

p = argparse.ArgumentParser(
    prog="tool",
    description="Does things.",
    epilog="The end.",
    formatter_class=lambda prog: argparse.HelpFormatter(prog, width=70),
    add_help=False,
)
p.add_argument("path", help="where to read")
p.add_argument("--count", type=int, default=3, metavar="N", help="how many (default: %(default)s)")
g = p.add_mutually_exclusive_group()
g.add_argument("--fast", action="store_true")
g.add_argument("--slow", action="store_true")
print(p.format_usage())
print(p.format_help())
