"""Whether the server is well: for those who run it. Open to all; nothing of anyone's sessions is said."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from avf_server import problems
from avf_server.metrics.telemetry import MEDIA_TYPE
from avf_server.routes.common import Server

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> Response:
    """Whether the process answers."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready")
async def ready(server: Server) -> Response:
    """Whether the server takes work: it is not stopping, its tasks run, and Redis takes what it is given."""
    server.stopping.check()
    down = server.supervisor.down()
    if down:
        names = ", ".join(f"{name} ({error})" for name, error in sorted(down.items()))
        raise problems.InternalError(f"tasks of the server fail, and are begun again: {names}; its log says why")
    try:
        await server.store.check()
    except problems.StoreError as error:
        reason = server.keeper.reason if server.keeper is not None else None
        told = error if reason is None else problems.StoreError(f"{error}; the embedded Redis does not run: {reason}")
        raise server.sessions.unavailable(told) from error
    failures = {name: health.failures for name, health in sorted(server.supervisor.tasks.items())}
    warnings = server.evictions.warnings() if server.evictions is not None else []
    return JSONResponse({"status": "ready", "task_failures": failures, "warnings": warnings})


@router.get("/metrics")
async def metrics(server: Server) -> Response:
    """Metrics, for Prometheus."""
    return Response(server.telemetry.expose(), media_type=MEDIA_TYPE)
