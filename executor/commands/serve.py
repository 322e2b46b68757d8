"""
`codecage serve`: start a server.
"""

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit.cli import default_path
from executor.errors import CannotStart
from executor.server import Options, serve
from policy.errors import PolicyError

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001
