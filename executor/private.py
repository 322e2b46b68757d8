"""
A private server's beginning: its launcher, and then the command line.

The first guest waits for the launcher, so it is started before even `argparse` is imported. Who
types `codecage serve` may have mistyped, and is told so before anything is started.
"""

from executor.children import launcher


def main() -> int:
    """
    Run the command line as `codecage` does; the exit code.
    """
    started = launcher.launch(ahead=launcher.ZYGOTE)
    from executor.cli import main as run  # noqa: PLC0415 - after the launcher's start

    return run(started=started)
