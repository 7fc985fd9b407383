"""Adding rows to a run: in one transaction, and once for each Idempotency-Key."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from optimization_tracking.auth import Caller
from optimization_tracking.database import Connection, Database
from optimization_tracking.idempotency import IdempotencyKey, answer_once
from optimization_tracking.routes.dependencies import RunId
from optimization_tracking.tables import runs


@dataclass(frozen=True, slots=True)
class RunWrite:
    """A request that adds rows to a run."""

    run_id: UUID
    request: Request
    database: Database
    caller: Caller
    idempotency_key: str | None

    async def answer(self, write: Callable[[Connection], Awaitable[BaseModel]]) -> Response:
        """Return 201 with what `write` returns, or with the answer that the key got before.

        Args:
            write: one statement that acts for the caller; with a key it shares a transaction with it.

        Raises:
            ForeignKeyViolation: the caller sees no such run.
            Refusal: 422 where the key was used for another request.
        """
        async with self._connection() as connection:
            return await answer_once(
                connection,
                self.request,
                key=self.idempotency_key,
                project_id=await self._project_of_key(connection),
                write=partial(write, connection),
                is_gone=partial(self._is_gone, connection),
            )

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        if self.idempotency_key is None:
            return self.database.connection(self.caller.projects)
        return self.database.transaction(self.caller.projects, actor=self.caller.actor)

    async def _project_of_key(self, connection: Connection) -> str:
        """Return the project whose keys the write uses; read from the database only where it is in question."""
        projects = self.caller.projects
        if self.idempotency_key is None or len(projects) == 1:
            return projects[0] if projects else ""
        return await runs.read_project(connection, self.run_id)

    async def _is_gone(self, connection: Connection) -> bool:
        return not await runs.exists(connection, self.run_id)


async def _writing(run_id: RunId, request: Request, idempotency_key: IdempotencyKey = None) -> RunWrite:
    # The class itself would be called in a thread, and each dependency of a dependency costs, too.
    return RunWrite(run_id, request, request.app.state.database, request.state.caller, idempotency_key)


Writing = Annotated[RunWrite, Depends(_writing)]
