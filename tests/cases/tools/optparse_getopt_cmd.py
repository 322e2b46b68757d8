# The older parsers of arguments, and cmd's loop over lines.
import cmd
import getopt
import io
from optparse import OptionParser

print(getopt.getopt(["-a", "1", "--long=x", "rest"], "a:b", ["long="]))
p = OptionParser()
p.add_option("-n", type="int", dest="n", default=1)
options, rest = p.parse_args(["-n", "5", "x"])
print(options.n, rest)


class Shell(cmd.Cmd):
    prompt, use_rawinput = "> ", False

    def do_add(self, line):
        print(sum(map(int, line.split())))

    def do_quit(self, line):
        return True

    def default(self, line):
        print("what is", line)


Shell(stdin=io.StringIO("add 1 2\nfoo\nquit\n")).cmdloop()
getopt.getopt(["-z"], "a")
