"""Who looks at the pages, and at which project."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from optimization_tracking.addresses import require_utf8
from optimization_tracking.auth import Caller, authenticate
from optimization_tracking.dashboard.sessions import Sessions, is_over, with_key
from optimization_tracking.database import Database
from optimization_tracking.problem_details import Refusal


@dataclass(frozen=True, slots=True)
class Visit:
    """A caller who may read, and the project whose lists it looks at."""

    caller: Caller
    project_id: str


async def admit(request: Request) -> Caller:
    """Return the caller of the session, of a key in the headers, or of the login.

    Raises:
        Refusal: as the API; 403 where the key has not the scope read; 422 where the address is not UTF-8.
    """
    sessions: Sessions | None = request.app.state.sessions
    key = sessions.key_of(request) if sessions is not None else None
    database: Database | None = request.app.state.database
    if key is not None and database is not None and await is_over(request, database=database):
        key = None
    caller = await authenticate(request if key is None else with_key(request, key))
    if not caller.can_read:
        raise Refusal(403, f"{caller.name} may not read; use a key with the scope read")
    require_utf8(request)
    return caller


Admitted = Annotated[Caller, Depends(admit)]


async def _visit(request: Request, caller: Admitted) -> Visit:
    if not caller.projects:
        raise Refusal(404, "there is no project yet; make one with `keys create NAME --create-project`")
    wanted = request.query_params.get("projectId") or caller.projects[0]
    return Visit(caller, caller.choose_project(wanted))


Visiting = Annotated[Visit, Depends(_visit)]
