"""The HTTP interface, as docs/protocol.md states it: the routes of all subjects.

A subject is a file in `routes/` with a `router`; routes are matched in this order.
"""

from fastapi import APIRouter

from avf_server.routes import health, models, samples, sessions, steps, tokens, watching
from avf_server.routes.common import problem_response

__all__ = ["problem_response", "router"]

router = APIRouter()
for subject in (models, sessions, steps, samples, watching, tokens, health):
    router.include_router(subject.router)
