"""The application: transports on a runtime, and every error on its way out as problem+json.

The law: whatever fails, the client gets a problem of docs/protocol.md; what no one foresaw is `internal-
error`, and the log has the rest.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import avf_wire as wire
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from avf_server import problems
from avf_server.problems import ProblemError
from avf_server.routes.common import problem_response
from avf_server.runtime import open_runtime
from avf_server.settings import Settings, read
from avf_server.transports import dashboard, http, openapi, reference, websocket
from avf_server.transports.limits import BodyLimit
from avf_server.transports.methods import Heads
from avf_server.transports.origins import Origins
from avf_server.transports.prefix import Prefix
from avf_server.transports.straight import Straight

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The server as an ASGI application; its lifespan opens and closes all that it needs.

    Settings are read from the environment where none are given. Raises StartError, here or from the lifespan.
    """
    settings = settings or read()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_runtime(settings) as runtime:
            app.state.runtime = runtime
            yield

    app = FastAPI(
        title="avf",
        summary="Amortized variational filtering as a service",
        description=reference.DESCRIPTION,
        version=wire.VERSION,
        lifespan=lifespan,
        docs_url=None,  # the framework's pages load their scripts from elsewhere: see transports/reference.py
        redoc_url=None,
        redirect_slashes=False,
        root_path_in_servers=False,  # which would keep every prefix that a request ever named
    )
    app.include_router(http.router)
    app.include_router(websocket.router)
    app.include_router(reference.router)
    app.include_router(dashboard.router(login=bool(settings.api_keys)))
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_left)
    app.add_exception_handler(Exception, _on_fault)
    app.add_middleware(Straight, on_problem=_on_problem, on_left=_on_left)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(Prefix, prefix=settings.root_path)
    app.add_middleware(Heads)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["ETag", "Location", "Retry-After"],
        )
    app.add_middleware(
        Origins,
        hosts=settings.allowed_hosts,
        origins=settings.allowed_origins,
        guarded=not (settings.api_keys or settings.insecure),
    )
    prefix, keys = settings.root_path, bool(settings.api_keys)
    app.openapi = lambda: openapi.describe(app, prefix=prefix, keys=keys)  # type: ignore[method-assign]
    return app


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    request.app.state.runtime.telemetry.problems.labels(error.name).inc()
    return problem_response(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Those that the framework raises: unknown routes and methods."""
    assert isinstance(error, HTTPException)
    problem: ProblemError
    if error.status_code == 404:
        problem = problems.UnknownRouteError(f"there is no {request.url.path}; /docs lists what there is")
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow")
        if request.method == "OPTIONS":  # which load balancers probe with, too
            return Response(status_code=204, headers={"Allow": allowed or "GET"})
        problem = problems.MethodNotAllowedError(f"{request.url.path} takes no {request.method}", allow=allowed)
    elif error.status_code < 500:
        problem = problems.MalformedBodyError(str(error.detail))
    else:
        problem = problems.internal()
    return await _on_problem(request, problem)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return await _on_problem(request, problems.MalformedBodyError(details))


async def _on_left(request: Request, error: Exception) -> Response:
    """The client has left in the middle of its request; nobody reads this."""
    return Response(status_code=408)


async def _on_fault(request: Request, error: Exception) -> Response:
    """What no one foresaw; uvicorn logs the error, which the framework raises again."""
    return await _on_problem(request, problems.internal())
