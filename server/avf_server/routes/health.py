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
    """Whether the server takes work: it is not stopping, and Redis takes what it is given."""
    server.stopping.check()
    try:
        await server.store.check()
    except problems.StoreError as error:
        raise server.sessions.unavailable(error) from error
    return JSONResponse({"status": "ready"})


@router.get("/metrics")
async def metrics(server: Server) -> Response:
    """Metrics, for Prometheus."""
    return Response(server.telemetry.expose(), media_type=MEDIA_TYPE)
