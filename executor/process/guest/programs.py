"""
Programs and children of a native guest: the gate is asked first, and what it grants is done.

Runs beside the agent's code and protects nothing. The kernel holds a box to the programs and the
children of its policy whatever is called; asking is what puts a program into the record, and
gives a refusal its sentence. In a child that the guest has forked nobody can be asked, and the
kernel decides alone.
"""

import functools
import os
import shlex
import shutil
import subprocess

SHELL = "/bin/sh"
# What stands in the way of starting a line's program without a shell.
FOR_A_SHELL = frozenset("|&;<>()$`*?[]{}~#!\n")
# The parameters of Popen after `args`, in their order, as far as they concern a program's name.
PLACES = (
    "bufsize", "executable", "stdin", "stdout", "stderr", "preexec_fn", "close_fds", "shell",
    "cwd", "env",
)  # fmt: skip
REPLACES = (
    "it would end this session's own Python, and the session with it. Write instead: "
    "subprocess.run([...])"
)

_popen, _fork, _forkpty = subprocess.Popen.__init__, os.fork, os.forkpty
_execv, _execve = os.execv, os.execve
_spawns = {name: getattr(os, name) for name in ("posix_spawn", "posix_spawnp")}


def install():
    """Put what asks into the place of what starts."""
    subprocess.Popen.__init__ = popen
    # Or a program would be asked for twice.
    subprocess._USE_POSIX_SPAWN = False
    os.system, os.fork, os.forkpty = system, fork, forkpty
    os.execv, os.execve = replacing(_execv), replacing(_execve)
    for name, call in _spawns.items():
        setattr(os, name, spawning(call))


def judge(program):
    """Have the gate judge, and record, an attempt at a program. Raises PermissionError."""
    number, reason = door.run(os.fsdecode(program))
    if number:
        raise PermissionError(number, reason or "programs cannot be started here")


# ---- programs ------------------------------------------------------------------------------------


@functools.wraps(_popen)
def popen(self, args, *rest, **options):
    self._child_created = False
    self.returncode = None
    options.update(zip(PLACES, rest, strict=False))
    if options.get("shell"):
        args, options = with_shell(args, options)
    program = options.get("executable") or first(args)
    judge(found(program, options.get("env")))
    _popen(self, args, **options)


def with_shell(args, options):
    """What to start for a line: the shell where the box has one, else the line's program itself."""
    shell = options.get("executable") or SHELL
    if os.path.exists(shell):
        return args, {**options, "executable": shell}
    line = args if isinstance(args, (str, bytes)) else first(args)
    words = simple(os.fsdecode(line))
    if not words:
        judge(shell)
        raise FileNotFoundError(2, "there is no shell here for this line", shell)
    return words, {**options, "shell": False, "executable": None}


def simple(line):
    """The words of a line that needs no shell; none where it needs one."""
    if FOR_A_SHELL & set(line):
        return []
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    return [] if words and "=" in words[0] else words


def first(args):
    return args if isinstance(args, (str, bytes, os.PathLike)) else next(iter(args), "")


def found(program, environment=None):
    """The absolute path of a program; its bare name where the box shows none of that name."""
    name = os.fsdecode(program)
    if "/" in name:
        return os.path.abspath(name)
    path = None if environment is None else os.pathsep.join(os.get_exec_path(environment))
    return shutil.which(name, path=path) or name


def system(command):
    """os.system: the status of the command's end, as wait(2) gives it."""
    code = subprocess.Popen(command, shell=True).wait()
    return code << 8 if code >= 0 else -code


def execute(line, read=False):
    """
    A notebook's `!line`; with `read`, the lines that it writes. Raises PermissionError, and
    FileNotFoundError where it needs a shell and there is none.
    """
    output = subprocess.PIPE if read else None
    with subprocess.Popen(line, shell=True, stdout=output, text=True) as process:
        written, _ = process.communicate()
    return written.splitlines() if read else None


def spawning(call):
    """`call`, a way to start a program, once the gate has said yes."""

    @functools.wraps(call)
    def start(path, *rest, **options):
        judge(found(path))
        return call(path, *rest, **options)

    return start


def replacing(call):
    """`call`, which puts a program in the place of this process: for children alone."""

    @functools.wraps(call)
    def replace(path, *rest):
        judge(found(path))
        if door.is_child():
            call(path, *rest)
        raise PermissionError(1, f"{call.__name__}: {REPLACES}")

    return replace


# ---- children ------------------------------------------------------------------------------------


def fork():
    """os.fork, where the policy grants children."""
    judge("fork")
    return _fork()


def forkpty():
    """os.forkpty, where the policy grants children."""
    judge("fork")
    return _forkpty()


def children(runtime):
    """Have what makes processes by itself ask, and say what to do where there are none."""

    def check():
        number, reason = door.run("fork")
        if number:
            raise RuntimeError(f"{runtime.NO_PROCESSES} {reason}".rstrip())

    def started(module):
        start = module.BaseProcess.start

        @functools.wraps(start)
        def asked(self):
            check()
            start(self)

        module.BaseProcess.start = asked

    def limited(module):
        limits = module._check_system_limits

        def asked():
            try:
                check()
            except RuntimeError as error:
                raise NotImplementedError(str(error)) from None
            limits()

        module._check_system_limits = asked

    runtime.After.ACTS["multiprocessing.process"] = started
    runtime.After.ACTS["concurrent.futures.process"] = limited
    runtime.After.ACTS["multiprocessing.context"] = by_fork


def by_fork(module):
    """The other ways start a Python by its path, which is none of the guest's programs."""
    forking = module._concrete_contexts["fork"]
    module._default_context._default_context = forking


door = None
