# argparse parses options, types, choices, subcommands and defaults.
import argparse

p = argparse.ArgumentParser(prog="tool", description="Does things.")
p.add_argument("-v", "--verbose", action="count", default=0)
p.add_argument("--level", type=int, choices=[1, 2, 3], default=1)
sub = p.add_subparsers(dest="command", required=True)
add = sub.add_parser("add", help="add numbers")
add.add_argument("numbers", nargs="+", type=float)
add.add_argument("--round", action=argparse.BooleanOptionalAction, default=False)
print(p.parse_args(["-vv", "--level", "2", "add", "1", "2.5", "--round"]))
print(p.parse_known_args(["add", "3", "--other"]))
args = p.parse_args("add 1 2 3".split())
print(sum(args.numbers), vars(args))
p.parse_args(["--level", "9", "add", "1"])
