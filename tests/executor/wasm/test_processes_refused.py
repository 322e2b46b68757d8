"""
Processes and signals in guests that are alone: every way to them says what to do instead.
"""

import pytest

pytestmark = pytest.mark.image

FORK = (
    "can't start new process: this Python has one thread and one process. Call the function "
    "directly, in a plain loop, or await coroutines together with asyncio.gather."
)
KILL = (
    "there is no other process to signal, and this one is the session. Raise an exception to end "
    "the cell, or call exit()."
)
TIMER = (
    "no timer can signal here. Ask time.monotonic() in the loop, or await with "
    "asyncio.timeout(seconds); a cell that runs too long is ended by the session."
)
HANDLER = (
    "this handler would never be called: the only signal that arrives here is SIGINT, as "
    "KeyboardInterrupt. Put what is to be done at an end into `finally`, or register it with "
    "atexit."
)
PROGRAM = "no program can be started here. Use Python and the packages of the session's image."


@pytest.fixture(scope="module")
def data(data_zygote):
    """
    One session of the image `data`. No test of this module may end it.
    """
    with data_zygote.session() as worker:
        yield worker


@pytest.fixture(scope="module")
def core(zygote):
    """
    One session of the image `core`. No test of this module may end it.
    """
    with zygote.session() as worker:
        yield worker


@pytest.fixture(params=["core", "data"])
def either(request):
    return request.getfixturevalue(request.param)


def absent(name: str, reason: str) -> str:
    module, _, attribute = name.partition(".")
    return f"AttributeError: module {module!r} has no attribute {attribute!r}: {reason}"


# ---- programs and processes ----------------------------------------------------------------------


def test_os_system_is_refused_in_the_policys_words_as_subprocess_is(either):
    plain = either.run("import subprocess\nsubprocess.run('ls', shell=True)")
    told = either.run("import os\nos.system('ls')").raised("PermissionError")
    assert told.error == plain.raised("PermissionError").error
    assert [str(ask) for ask in told.asks] == [str(ask) for ask in plain.asks]
    assert told.asks


def test_a_notebooks_command_is_asked_for_once(either):
    assert len(either.run("!ls").raised("PermissionError").asks) == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("fork()", f"OSError: [Errno 52] {FORK}"),
        ("spawnv(os.P_WAIT, '/bin/ls', ['ls'])", f"OSError: [Errno 52] {FORK}"),
        ("kill(os.getpid(), 15)", f"PermissionError: [Errno 63] {KILL}"),
        ("killpg(1, 9)", f"PermissionError: [Errno 63] {KILL}"),
        ("forkpty()", absent("os.forkpty", FORK)),
        ("posix_spawn('/bin/ls', ['ls'], {})", absent("os.posix_spawn", PROGRAM)),
    ],
)
def test_processes_are_refused_with_a_sentence(core, call, error):
    """
    The guest's numbers of errors are those of WASI: 52 is ENOSYS and 63 is EPERM.
    """
    assert core.run(f"import os\nos.{call}").error == error


@pytest.mark.parametrize(
    ("name", "reason"), [("fork", FORK), ("kill", KILL), ("killpg", KILL), ("execv", PROGRAM)]
)
def test_what_wasi_has_not_is_absent_with_a_sentence(data, name, reason):
    assert data.run(f"import os\nos.{name}(1, 9)").error == absent(f"os.{name}", reason)
    assert data.run(f"hasattr(os, {name!r})").ok().text == "False"


def test_a_program_in_this_ones_place_is_asked_of_the_gate(core):
    told = core.run("import os\nos.execv('/bin/ls', ['ls'])").raised("PermissionError")
    assert len(told.asks) == 1


def test_whether_there_is_a_process_may_be_asked(core):
    assert core.run("import os\nos.kill(os.getpid(), 0)").ok()


def test_any_other_name_that_is_missing_is_told_as_ever(either):
    told = either.run("import os\nos.getpiid()").raised("AttributeError").done.traceback
    assert "AttributeError: module 'os' has no attribute 'getpiid'. Did you mean" in told


# ---- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["alarm(1)", "setitimer(0, 1)"])
def test_timers_are_absent_with_a_sentence(either, call):
    name = call.partition("(")[0]
    told = either.run(f"import signal\nsignal.{call}")
    assert told.error == absent(f"signal.{name}", TIMER)
    assert either.run(f"hasattr(signal, {name!r})").ok().text == "False"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGALRM", "SIGUSR1"])
def test_a_cells_handler_that_would_never_be_called_is_refused(either, name):
    told = either.run(f"import signal\nsignal.signal(signal.{name}, print)").raised("RuntimeError")
    assert told.error == f"RuntimeError: {HANDLER}"


@pytest.mark.parametrize(
    "call",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
        "signal.signal(signal.SIGPIPE, signal.SIG_IGN)",
        "signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))",
        "exec(compile('signal.signal(signal.SIGTERM, print)', 'library.py', 'exec'))",
        "import asyncio\nasyncio.run(asyncio.sleep(0))",
    ],
)
def test_other_settings_and_those_of_libraries_go_on_working(either, call):
    assert either.run(f"import signal\n{call}").ok()
