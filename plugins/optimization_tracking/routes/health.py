"""/health: asks for no key."""

from fastapi import APIRouter

from optimization_tracking.models.answers import Health
from optimization_tracking.problem_details import unavailable
from optimization_tracking.routes.dependencies import Tracking, refusals
from optimization_tracking.schema import head_revision

router = APIRouter()


@router.get("/health", tags=["health"], responses={503: refusals()[503]})
async def health(database: Tracking) -> Health:
    """Whether the database answers with the tables that this service needs; asks for no key."""
    async with database.transaction([]) as connection:
        row = await (await connection.execute("SELECT version_num FROM optimization_schema_version")).fetchone()
    if row is None or row[0] != head_revision():
        raise unavailable("the tables are of another revision; run `python -m optimization_tracking migrate`")
    return Health(status="ok", revision=row[0])
