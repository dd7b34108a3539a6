"""The interface, browsable, at `/docs`: Swagger UI, from the server's own origin.

The law: nothing leaves the origin, so that the page works where there is no other, and tells no one of it. Its scripts
are those of the distribution `fastapi-offline`; addresses are relative, so that it works behind a prefix.
"""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from avf_server.transports.assets import Asset, answer

DESCRIPTION = (
    "Sessions over HTTP. The stream of a session is a WebSocket, `/v1/sessions/{session}/stream`: its messages are in "
    "[asyncapi.json](asyncapi.json), an AsyncAPI 3.0 document; this page is made of [openapi.json](openapi.json). "
    "The law of both is docs/protocol.md."
)
PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>avf: the interface</title>
<link rel="icon" href="dashboard/icon.svg">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="interface"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  validatorUrl: null, // which would be asked on another origin
});
"""
BUNDLED = ("swagger-ui-bundle.js", "swagger-ui.css")

router = APIRouter(include_in_schema=False)


@router.api_route("/docs", methods=["GET", "HEAD"])
def page(request: Request) -> Response:
    """The page. Swagger UI styles its elements itself, and draws by data."""
    return answer(request, _assets()["page.html"], style_src="'self' 'unsafe-inline'")


@router.api_route("/docs/{name}", methods=["GET", "HEAD"])
def file(name: str, request: Request) -> Response:
    """A file of the page."""
    if name == "page.html" or name not in _assets():
        raise HTTPException(404)
    return answer(request, _assets()[name])


@cache
def _assets() -> dict[str, Asset]:
    """All files, once someone looks: they take a while to compress, which a thread of the routes does."""
    folder = files("fastapi_offline") / "static"
    given = {name: (folder / name).read_bytes() for name in BUNDLED}
    made = given | {"page.html": PAGE, "start.js": START}
    return {name: Asset.of(name[name.rindex(".") :], plain) for name, plain in made.items()}
