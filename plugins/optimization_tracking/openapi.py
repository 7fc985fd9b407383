"""The OpenAPI description: FastAPI's own, with the problem that our refusals are."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from optimization_tracking.auth import SECURITY_SCHEMES
from optimization_tracking.models.answers import Problem


def publish(app: FastAPI) -> None:
    """Let the app describe itself; the description is made once, when it is first asked for."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schemas = description["components"]["schemas"]
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs") | {Problem.__name__: problem}
            description["components"]["securitySchemes"] = SECURITY_SCHEMES
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # as FastAPI wants it to be replaced
