"""
The pages: what is asked for in an address, read from the record and put into a template.

Each is a function that blocks for some milliseconds, run in a thread. The door has seen to who
asks before one of them is called, and writes down what they answer before it is sent.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from executor.audit.errors import AuditError
from executor.audit.read import SessionSummary, creation, snapshot, summary
from executor.audit.record import Event, Record
from executor.audit.report import record_json
from executor.audit.review import commits, diffs, pieces, search, why
from executor.audit.review.asked import KINDS
from executor.audit.review.commits import Committed
from executor.audit.review.filters import Filter, Outside
from executor.audit.review.html import Html
from executor.audit.review.search import Step
from executor.capture.diffs import read as read_diffs
from executor.review import asking, captured, gathering, places
from executor.review.charts import ICON, Measure, chart, charts, svg
from executor.review.charts import POLICY as CHART_POLICY
from executor.review.gathering import Stand
from executor.review.policies import Policies
from executor.review.rendering import linked, render, style
from executor.review.verification import Verification

_CODE: Final = "codecage audit serve --code"
SESSIONS_A_PAGE: Final = 50
RECORDS_A_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """
    A session in the list.
    """

    short: SessionSummary
    place: str
    verified: Stand
    replay: Stand


class Pages:
    """
    The application: it reads the record at `audit`, and that of the readers at `readers`.
    """

    def __init__(
        self,
        audit: Path,
        readers: Path,
        policies: Policies,
        verification: Verification,
        *,
        code: bool = False,
    ) -> None:
        """
        With `code`, what captured cells were and printed is shown too, and the diffs of commits.
        """
        self._audit = audit
        self._readers = readers
        self._policies = policies
        self._verification = verification
        self._code = code

    def application(self) -> Starlette:
        """
        The routes.
        """
        routes = [
            Route("/style.css", self._style),
            Route("/icon.svg", self._icon),
            Route(places.HOME, self._threaded(self._sessions)),
            Route(places.SEARCH, self._threaded(self._search)),
            Route(places.READERS, self._threaded(self._readings)),
            Route("/session/{key}", self._threaded(self._session)),
            Route("/session/{key}/cells", self._threaded(self._cells)),
            Route("/session/{key}/{measure}.svg", self._threaded(self._chart)),
            Route("/record/{sequence}", self._threaded(self._record)),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: self._absent})

    def login_page(self, place: str, trouble: str) -> bytes:
        """
        The form that asks for the token; afterwards `place` is shown.
        """
        return render("login.html", place=place, trouble=trouble).encode()

    async def _style(self, _: Request) -> Response:
        return Response(style(), media_type="text/css")

    async def _icon(self, _: Request) -> Response:
        return Response(ICON, media_type="image/svg+xml")

    async def _absent(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._trouble(request, error.status_code, "There is no such page.")

    def _threaded(self, page: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(partial(self._answered, page, request))

        return endpoint

    def _answered(self, page: Callable[[Request], Response], request: Request) -> Response:
        try:
            return page(request)
        except LookupError as error:
            return self._trouble(request, 404, str(error.args[0]))
        except ArgumentTypeError as error:
            return self._trouble(request, 400, str(error))
        except (AuditError, OSError) as error:
            return self._trouble(request, 503, str(error))

    def _trouble(self, request: Request, status: int, said: str) -> Response:
        return self._page("trouble.html", request, status=status, code=status, said=said)

    def _page(self, name: str, request: Request, *, status: int = 200, **values: Any) -> Response:
        text = render(
            name,
            here=request.url.path,
            verdict=self._verification.last,
            verify_trouble=self._verification.trouble,
            **values,
        )
        return Response(text.encode("utf-8"), status, media_type="text/html")

    def _sessions(self, request: Request) -> Response:
        wanted = asking.sessions(request.query_params)
        if wanted.named:
            found = search.session_named(self._audit, wanted.named)
            shorts, more = self._one(found), None
        else:
            which = Filter(answer=wanted.answer)
            shorts, more = search.latest_sessions(
                self._audit, which, before=wanted.before, limit=SESSIONS_A_PAGE
            )
        denied = "1" if wanted.answer else None
        return self._page(
            "sessions.html",
            request,
            rows=self._rows(shorts),
            wanted=wanted,
            outside=search.denied_outside(self._audit) if not wanted.narrowed else 0,
            more=more and places.with_query(places.HOME, denied=denied, before=more),
        )

    def _one(self, session: str) -> list[SessionSummary]:
        start = creation(self._audit, session)
        if start is None:
            return []
        found, _ = search.latest_sessions(self._audit, before=start.sequence + 1, limit=1)
        return found

    def _rows(self, shorts: list[SessionSummary]) -> list[Row]:
        verdict = self._verification.last
        with snapshot(self._audit) as db:
            reached = [gathering.reach_of(db, short) for short in shorts]
        return [
            Row(
                short,
                places.summary_place(short),
                gathering.verified(last, verdict),
                gathering.replayable(end, ended=end is not None),
            )
            for short, (last, end) in zip(shorts, reached, strict=True)
        ]

    def _session(self, request: Request) -> Response:
        start = gathering.start_of(self._audit, request.path_params["key"])
        _about(request, start.session)
        after = asking.number(request.query_params, "after")
        told = gathering.tell(self._audit, start, after or 0)
        steps = told.steps.steps
        place = places.session_place(told.key)
        return self._page(
            "session.html",
            request,
            told=told,
            verified=gathering.verified(told.last, self._verification.last),
            replay=gathering.replayable(told.end, ended=told.end is not None),
            facts=pieces.facts(told.summary, start),
            denials=pieces.denials(told.denied.steps, linked),
            charts=[(f"{place}/{one.measure.value}.svg", one) for one in charts(told.ends)],
            timeline=list(pieces.timeline(steps, linked)),
            no_code=pieces.NO_CODE,
            cells=f"{place}/cells" if self._code and gathering.is_captured(told.end) else None,
            network=pieces.network(gathering.network(steps)),
            tools=_table(gathering.tools(steps)),
            files=_table(gathering.files(steps)),
            commits=list(diffs.section(self._commits(told.summary.session, steps), _CODE, linked)),
            usage=pieces.usage(told.ends),
            first=places.with_query(place) if after else None,
            more=None
            if told.steps.ended
            else places.with_query(place, after=told.steps.reached) + "#timeline",
            all_denied=places.with_query(
                places.SEARCH, session=told.summary.session, decision="deny"
            ),
        )

    def _commits(self, session: str, steps: Sequence[Step]) -> list[Committed]:
        made = commits.commits(steps)
        return commits.with_diffs(made, self._audit, session, read_diffs) if self._code else made

    def _cells(self, request: Request) -> Response:
        start = gathering.start_of(self._audit, request.path_params["key"])
        session = start.session or ""
        _about(request, session)
        if not self._code:
            raise LookupError("Code and output are shown where `--code` asks for that.")
        with snapshot(self._audit) as db:
            _, end = gathering.reach_of(db, summary(db, start))
        return self._page(
            "cells.html",
            request,
            session=session,
            home=places.session_place(places.key_of(session, start.sequence)),
            found=captured.cells(self._audit, session, captured=gathering.is_captured(end)),
        )

    def _chart(self, request: Request) -> Response:
        start = gathering.start_of(self._audit, request.path_params["key"])
        _about(request, start.session)
        try:
            measure = Measure(request.path_params["measure"])
        except ValueError as error:
            raise LookupError("There is no such picture.") from error
        drawn = chart(measure, gathering.ends_of(self._audit, start.session or ""))
        headers = {"content-security-policy": CHART_POLICY}
        return Response(svg(drawn), media_type="image/svg+xml", headers=headers)

    def _record(self, request: Request) -> Response:
        sequence = asking.sequence(request.path_params["sequence"])
        step = search.one(self._audit, sequence)
        if step is None:
            raise LookupError(f"The record has no number {sequence} in this file.")
        session = step.record.session
        _about(request, session)
        start = None if session is None else creation(self._audit, session)
        home = (
            None
            if start is None
            else places.session_place(places.key_of(session or "", start.sequence))
        )
        decision = step.decision or step.record
        decided = decision.event is Event.DECISION
        return self._page(
            "record.html",
            request,
            step=step,
            home=home,
            told=self._why(step, session, start) if decided else None,
            committed=list(self._contents(session, decision)),
            policies_given=self._policies.directory is not None,
            fields=pieces.fields_of(step.record),
            json=record_json(step.record),
        )

    def _contents(self, session: str | None, decision: Record) -> Iterator[Html]:
        if session is None or not commits.is_commit(decision):
            return
        found = read_diffs(self._audit, session, [decision]) if self._code else {}
        yield from diffs.by_file(decision, found.get(decision.sequence), _CODE)

    def _why(self, step: Step, session: str | None, start: Any) -> dict[str, Any]:
        decision = step.decision or step.record
        policy = self._policies.of(decision.policy_digest)
        told = why.tell(
            self._audit, session or Outside.SESSIONS, step.record.sequence, start, policy
        )
        return {
            "decision": decision,
            "outcome": told.outcome,
            "sentences": why.lines(told),
            "rule": told.rule,
            "found": policy is not None,
            "lines": [] if told.rule is None else self._policies.lines(told.rule),
        }

    def _search(self, request: Request) -> Response:
        wanted = asking.records(request.query_params, self._audit)
        if isinstance(wanted.which.session, str):
            _about(request, wanted.which.session)
        found = gathering.fitting(
            search.latest(self._audit, wanted.which, before=wanted.before, limit=RECORDS_A_PAGE)
        )
        more = None
        if not found.ended:
            more = places.with_query(places.SEARCH, **wanted.given, before=found.reached)
        return self._page(
            "search.html",
            request,
            given=wanted.given,
            kinds=KINDS,
            found=found,
            table=pieces.found_table(found.steps, linked, _to_session),
            more=more,
        )

    def _readings(self, request: Request) -> Response:
        before = asking.number(request.query_params, "before")
        found = gathering.fitting(search.latest(self._readers, before=before, limit=RECORDS_A_PAGE))
        return self._page(
            "readers.html",
            request,
            steps=[step.record for step in found.steps],
            file=self._readers.name,
            more=None if found.ended else places.with_query(places.READERS, before=found.reached),
        )


def _about(request: Request, session: str | None) -> None:
    request.scope["codecage.seen"].session = session


def _table(steps: list[Step]) -> Any:
    return pieces.steps_table(steps, linked) if steps else None


def _to_session(session: str) -> str | None:
    """
    The page of a session that a record names, where an address can name it.
    """
    key = places.key_of(session, 0)
    return None if key.startswith("@") else places.session_place(key)
