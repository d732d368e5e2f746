"""The page: what it asks for, and what becomes of it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from latentlabels.errors import DecisionsError, InputError, LatentLabelsError, shortened
from latentlabels.review.decisions import Conflict, Decisions, Verdict
from latentlabels.review.guard import Guard
from latentlabels.review.queue import Change, Filters, Queue, State
from latentlabels.runs.run import Row, Run

LOOPBACK: Final = "127.0.0.1"
STATIC: Final = Path(__file__).parent / "static"
MATCHES: Final = 20
MOST_ROW: Final = 2**62


class Asked(BaseModel):
    """Which rows are wanted, and which one of them."""

    model_config = ConfigDict(extra="ignore")

    state: State = State.TODO
    change: Change = Change.ANY
    label: Annotated[int | None, Field(ge=0)] = None
    search: Annotated[str, Field(max_length=1000)] = ""
    row: Annotated[int | None, Field(ge=0, le=MOST_ROW)] = None
    after: Annotated[int | None, Field(ge=0, le=MOST_ROW)] = None
    before: Annotated[int | None, Field(ge=0, le=MOST_ROW)] = None

    @property
    def filters(self) -> Filters:
        """The filters among it."""
        return Filters(self.state, self.change, self.label, self.search)


class Said(BaseModel):
    """What is said of a row."""

    model_config = ConfigDict(extra="forbid")

    row: Annotated[int, Field(ge=0, le=MOST_ROW)]
    verdict: Verdict
    labels: list[int] | None = None
    seen: int | None = None
    seconds: Annotated[float | None, Field(ge=0, le=1e6)] = None


class Undone(BaseModel):
    """The entry to take back."""

    model_config = ConfigDict(extra="forbid")

    entry: Annotated[int, Field(ge=0, le=MOST_ROW)]


def review_app(run: Run, decisions: Decisions, *, port: int, token: str) -> ASGIApp:
    """The page as an application.

    Args:
        run: what is reviewed.
        decisions: where what is said is kept.
        port: where it listens.
        token: that the page is opened with.
    """
    queue = Queue(run, decisions)
    pages = _Pages(run, decisions, queue)
    # What takes longer the first time is over before anybody waits for it.
    pages.page(Asked())
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(LatentLabelsError, _refused)
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.get("/")
    def page(asked: Annotated[Asked, Query()]) -> HTMLResponse:
        return pages.page(asked)

    @app.get("/row")
    def row(asked: Annotated[Asked, Query()]) -> HTMLResponse:
        return pages.row(asked)

    @app.get("/labels")
    def labels(search: Annotated[str, Query(max_length=1000)]) -> HTMLResponse:
        return pages.labels(search)

    @app.get("/picture/{row}/{place}")
    def picture(row: int, place: int) -> Response:
        _require_row(run, row)
        if not 0 <= place < len(run.kinds):
            raise HTTPException(404)
        try:
            content, kind = run.picture(row, place)
        except InputError as error:
            return PlainTextResponse(f"This picture {error}.", 404)
        return Response(content, media_type=kind)

    @app.post("/decide")
    def decide(said: Said) -> dict[str, Any]:
        _require_row(run, said.row)
        row = run.row(said.row)
        entry = decisions.decide(
            said.row,
            row.name,
            said.verdict,
            decided_labels(run, row, said),
            seen=said.seen,
            seconds=said.seconds,
        )
        return {"entry": entry}

    @app.post("/undo")
    def undo(undone: Undone) -> dict[str, Any]:
        return {"row": decisions.undo(undone.entry).row}

    return Guard(app, port=port, token=token)


def serve(run: Run, decisions: Decisions, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page on this machine alone, until it is interrupted.

    Args:
        run: what is reviewed.
        decisions: where what is said is kept.
        port: where to listen; 0 for any that is free.
        ready: is told the page's address when it can be opened.

    Raises:
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(32)
    with socket.create_server((LOOPBACK, port)) as listening:
        port = listening.getsockname()[1]
        app = review_app(run, decisions, port=port, token=token)
        settings = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, ws="none"
        )
        # What is asked before the server runs waits in the socket.
        ready(f"http://{LOOPBACK}:{port}/?token={token}")
        uvicorn.Server(settings).run(sockets=[listening])


def decided_labels(run: Run, row: Row, said: Said) -> list[str] | None:
    """The clean labels that a verdict gives a row; None where it is put off.

    Raises:
        DecisionsError: it gives none.
    """
    if said.verdict == Verdict.SKIP:
        return None
    if said.verdict == Verdict.EDIT:
        units = set(said.labels or ())
        if not units <= set(range(len(run.names))):
            raise DecisionsError("There is no such label.")
    elif not row.has_proposal:
        raise DecisionsError("Nothing is proposed for this row. Choose its labels.")
    else:
        chosen = row.proposed if said.verdict == Verdict.ACCEPT else row.given
        units = {label.unit for label in chosen}
    if run.exclusive and len(units) != 1:
        raise DecisionsError(f"A row has exactly one label here, and not {len(units)}. Choose it.")
    return [run.names[unit] for unit in sorted(units)]


def _require_row(run: Run, row: int) -> None:
    if not 0 <= row < len(run):
        raise HTTPException(404)


async def _refused(_: Request, error: Exception) -> Response:
    code = 409 if isinstance(error, Conflict) else 400
    return JSONResponse({"detail": str(error)}, code)


class _Pages:
    """Rows as HTML, in which every text of theirs is escaped."""

    def __init__(self, run: Run, decisions: Decisions, queue: Queue) -> None:
        self.run, self.decisions, self.queue = run, decisions, queue
        self.templates = Environment(
            loader=PackageLoader("latentlabels.review"), autoescape=True, undefined=StrictUndefined
        )
        self.templates.filters["shortened"] = shortened
        self.lowered = [name.casefold() for name in run.names]

    def page(self, asked: Asked) -> HTMLResponse:
        """The whole page."""
        listed = [(unit, self.run.names[unit], count) for unit, count in self.queue.labels]
        return self._html(
            "page.html",
            **self._shown(asked),
            listed=listed,
            states=State,
            changes=Change,
            table=self.run.subject.table,
        )

    def row(self, asked: Asked) -> HTMLResponse:
        """What changes from row to row."""
        return self._html("row.html", **self._shown(asked))

    def labels(self, search: str) -> HTMLResponse:
        """Labels whose names have a text in them; those that begin with it first."""
        text = search.strip().casefold()
        found = [unit for unit, name in enumerate(self.lowered) if text in name]
        found.sort(key=lambda unit: (not self.lowered[unit].startswith(text), unit))
        matches = [(unit, self.run.names[unit]) for unit in found[:MATCHES]]
        return self._html("labels.html", matches=matches, more=len(found) - len(matches))

    def _shown(self, asked: Asked) -> dict[str, Any]:
        filters, queue = asked.filters, self.queue
        number = asked.row if asked.row is not None and asked.row < len(self.run) else None
        if number is None and asked.before is not None and asked.before < len(self.run):
            number = queue.previous(filters, asked.before)
        elif number is None:
            after = asked.after if asked.after is not None and asked.after < len(self.run) else None
            number = queue.next(filters, after)
        decision = None if number is None else self.decisions.of(number)
        decided = None if decision is None else decision.labels
        return {
            "row": None if number is None else self.run.row(number, decided or ()),
            "bits": None if number is None else float(queue.bits[number]),
            "decision": decision,
            "decided": decided,
            "exclusive": self.run.exclusive,
            "asked": asked,
            "wanted": queue.count(filters),
            "progress": queue.progress(),
        }

    def _html(self, template: str, **content: Any) -> HTMLResponse:
        return HTMLResponse(self.templates.get_template(template).render(content))
