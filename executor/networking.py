"""
What the start of the server checks and fixes for policies that grant connections.

The command line of the network broker is in the launcher's table before a policy is read, so what
brokers may read is fixed for the server's life: one directory of secrets and one file of
certificates. The secrets themselves are not read here, nor anywhere else in the server; that each
secret a policy names is there, and closed to others, is seen without opening it.
"""

import ssl
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.children import launcher
from executor.errors import CannotStart
from executor.identity import Account
from policy.hosts import canonical_host, is_address
from policy.types import NetworkGrant, Policy

_BROKER: Final = "executor.network.broker"
_PORTS: Final = range(1, 2**16)


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """
    What network brokers are given: the directory of the secrets that policies name, a file of
    certificates in PEM that are trusted besides the system's, and name servers as `ADDRESS:PORT`
    in place of the system's.
    """

    secrets: Path | None = None
    trust: Path | None = None
    resolvers: tuple[str, ...] = ()

    def protected(self) -> tuple[str, ...]:
        """
        What no policy may grant, as absolute paths.
        """
        return tuple(str(path.absolute()) for path in (self.secrets, self.trust) if path)


def check_network_options(options: NetworkOptions) -> None:
    """
    Raises CannotStart for an option that no broker could work with.
    """
    if options.secrets is not None:
        _check_secrets(options.secrets)
    if options.trust is not None:
        _check_trust(options.trust)
    for resolver in options.resolvers:
        _check_resolver(resolver)


def broker_command(options: NetworkOptions, guest: Account) -> tuple[str, ...]:
    """
    The command line of every network broker.
    """
    arguments: list[str] = []
    if options.secrets is not None:
        arguments += ["--secrets", str(options.secrets.absolute())]
    if options.trust is not None:
        arguments += ["--trust", str(options.trust.absolute())]
    if guest.changes:
        arguments += ["--uid", str(guest.uid), "--gid", str(guest.gid)]
    return launcher.program(_BROKER, *arguments)


def require_network(policies: Mapping[str, Policy], options: NetworkOptions) -> None:
    """
    What the policies that grant connections need has to be there. Raises CannotStart.
    """
    granting = [policy for policy in policies.values() if policy.network]
    for policy in granting:
        for grant in policy.network:
            _require_secret(policy, grant, options.secrets)
    if granting:
        _require_lock(granting)


def _check_secrets(directory: Path) -> None:
    asked = f"--secrets {directory}"
    try:
        status = directory.stat()
    except OSError as error:
        raise CannotStart(
            f"{asked}: {error.strerror}; name a directory with one file for each secret"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise CannotStart(f"{asked}: this is no directory; put each secret into a file in one")
    if status.st_mode & 0o022:
        raise CannotStart(
            f"{asked}: others may put files into it (mode {stat.S_IMODE(status.st_mode):o}); "
            "close it with chmod go-w"
        )


def _check_trust(file: Path) -> None:
    asked = f"--trust {file}"
    if not file.is_file():
        raise CannotStart(f"{asked}: there is no such file; name one of certificates in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:
        raise CannotStart(
            f"{asked}: it holds no certificates that can be read ({error.strerror or error}); "
            "it has to be PEM, a block for each"
        ) from error


def _check_resolver(text: str) -> None:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = canonical_host(host[1:-1] if bracketed else host)
    known = address is not None and is_address(address) and bracketed == (":" in host)
    if not known or not (port.isascii() and port.isdecimal() and int(port) in _PORTS):
        raise CannotStart(
            f"--resolver {text}: write an address and a port, such as 192.0.2.53:53 or "
            "[2001:db8::53]:53"
        )


def _require_secret(policy: Policy, grant: NetworkGrant, directory: Path | None) -> None:
    if grant.credential is None:
        return
    rule, secret = grant.rule, grant.credential.secret
    named = f"policy {policy.name} ({rule.file}:{rule.line}, {rule.name}) names the secret {secret}"
    if directory is None:
        raise CannotStart(f"{named}; say with --secrets in which directory it lies")
    try:
        status = (directory / secret).stat()
    except OSError as error:
        raise CannotStart(
            f"{named}, and {directory.absolute()} has no such file ({error.strerror}); put the "
            "secret there, readable by its owner alone"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise CannotStart(f"{named}, and what {directory.absolute()} has there is no file")
    # The broker, which looks again at what it opens, could only tell the log and not who starts us.
    if status.st_mode & 0o077:
        raise CannotStart(
            f"{named}, and others may read or change {directory.absolute() / secret} "
            f"(mode {stat.S_IMODE(status.st_mode):o}); close it with chmod 600"
        )


def _require_lock(granting: Iterable[Policy]) -> None:
    # For policies that grant connections alone, as `serving.parts` has it.
    from executor.linux.checks import Status, checks  # noqa: PLC0415

    failed = [check for check in checks() if check.status is Status.FAILED]
    if failed:
        names = ", ".join(sorted(policy.name for policy in granting))
        lacks = "; ".join(f"{check.name}: {check.found}; {check.mend}" for check in failed)
        raise CannotStart(
            f"the policies that grant connections ({names}) need a network broker, which this "
            f"host cannot lock: {lacks}"
        )
