"""
A review page for a test: `codecage audit serve` in a process of its own, and what reads it.
"""

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="there is no Chromium here; as root: apt-get install chromium chromium-driver",
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Review:
    process: subprocess.Popen
    address: str
    token: str
    readers: Path

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.address)[1])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, place: str, **headers: str) -> Answer:
        return self.ask("GET", place, **{"Authorization": f"Bearer {self.token}", **headers})

    def ask(self, method: str, place: str, body: dict | str | None = None, **headers) -> Answer:
        """
        One request, with a right `Host` unless another is given; fields of None are left out.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(method, place, skip_host=True, skip_accept_encoding=True)
            data = urlencode(body).encode() if isinstance(body, dict) else (body or "").encode()
            given = {"Host": self.host, **headers}
            if body is not None:
                given["Content-Length"] = str(len(data))
            for name, value in given.items():
                for one in value if isinstance(value, list) else [value]:
                    if one is not None:
                        connection.putheader(name.replace("_", "-"), one)
            connection.endheaders(data or None)
            response = connection.getresponse()
            text = response.read().decode("utf-8")
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)

    def sign_in(self, token: str | None = None, place: str = "/") -> Answer:
        form = {"token": self.token if token is None else token, "next": place}
        return self.ask("POST", "/login", form, Origin=f"http://{self.host}")


@contextlib.contextmanager
def reviewing(audit: Path, place: Path, *options: str) -> Iterator[Review]:
    """
    The pages of a store; `place` is a directory for the record of the readers.
    """
    readers = place / "readers" / "readers.sqlite3"
    process = start(audit, "--readers", str(readers), *options)
    try:
        address = process.stdout.readline().removeprefix("serving ").strip()
        token = ""
        if "--token-file" not in options:
            token = process.stdout.readline().removeprefix("token").strip()
        assert address, process.communicate(timeout=30)[1]
        yield Review(process, address, token, readers)
    finally:
        if process.poll() is None:
            process.terminate()
        _, said = process.communicate(timeout=30)
        print(said, file=sys.stderr)  # pytest shows it where the test fails


def start(audit: Path, *options: str) -> subprocess.Popen:
    listen = () if "--listen" in options else ("--listen", "127.0.0.1:0")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "executor.cli", "audit", "serve", "--audit", str(audit)),
            *listen,
            *options,
        ],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
