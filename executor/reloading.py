"""
New policies for a running server, all of them or none.

Everything is read and checked before anything changes, as at the start. Sessions that exist keep
the policy that they were made under. Who asks over the wire hears only that the policies were
refused: why stands in the log, for whoever may read the policies.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from executor.audit.errors import AuditError
from executor.audit.record import Draft, Event
from executor.audit.store import AuditStore
from executor.errors import AuditRefuses, CannotStart
from executor.kernel.errors import ExecutorError, Status
from executor.sessions.registry import Sessions
from policy.errors import PolicyError
from policy.types import Policy

_LOG = logging.getLogger(__name__)
Loads = Callable[[], Mapping[str, Policy]]
"""Reads the policies anew. Raises PolicyError, CannotStart, OSError."""


class PoliciesRefused(ExecutorError):
    """
    The policies could not be read anew; those that were in force still are.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "POLICIES_REFUSED",
            "the policies were not changed, for what would replace them is refused; the server's "
            "log says why",
        )


class Reloading:
    """
    The reload of one server's policies, one at a time. `loads` runs on a thread of its own.
    """

    def __init__(self, loads: Loads, sessions: Sessions, store: AuditStore) -> None:
        self._loads = loads
        self._sessions = sessions
        self._store = store
        self._turn = asyncio.Lock()

    async def reload(self) -> Mapping[str, Policy]:
        """
        The policies that are in force from now on. Raises PoliciesRefused, and AuditRefuses where
        that cannot be recorded; nothing has changed then.
        """
        async with self._turn:
            try:
                policies = await asyncio.to_thread(self._loads)
            except (PolicyError, CannotStart, OSError) as error:
                _LOG.error("the policies were not reloaded: %s", error)
                await self._record([_refused(error)])
                raise PoliciesRefused from error
            await self._record([loaded(policy) for policy in policies.values()])
            self._sessions.replace_policies(policies)
        _LOG.info("reloaded the policies %s", ", ".join(sorted(policies)))
        return policies

    async def _record(self, drafts: list[Draft]) -> None:
        try:
            for draft in drafts:
                await self._store.append(draft, durable=draft is drafts[-1])
        except AuditError as error:
            raise AuditRefuses from error


def loaded(policy: Policy) -> Draft:
    """
    The record of a policy that is in force from then on.
    """
    return Draft(
        event=Event.POLICY_LOAD,
        policy_digest=policy.digest,
        detail=(
            ("file", policy.file),
            ("image", " ".join(policy.images)),
            ("policy", policy.name),
        ),
    )


def _refused(error: Exception) -> Draft:
    return Draft(event=Event.POLICY_LOAD, outcome="refused", detail=(("reason", str(error)),))
