"""The dashboard at `/`: static files, read once.

The law: the page is public and holds no data; what it shows comes from the public interface, with the token of whoever
looks. Nothing inline is run or styled.
"""

import posixpath
import re

import avf_dashboard
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from avf_server.transports.assets import Asset, answer

INDEX = "index.html"
ENTRY = "app.js"


def router(*, login: bool) -> APIRouter:
    """The routes of the page, with its files in memory; with `login`, it asks for a key before anything else."""
    assets = {name: Asset.of(path.suffix, path.read_bytes()) for name, path in avf_dashboard.files().items()}
    assets[INDEX] = Asset.of(".html", _index(assets, login=login))
    made = APIRouter(include_in_schema=False)

    @made.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return answer(request, assets[INDEX])

    @made.api_route("/dashboard/{name:path}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        if name == INDEX or name not in assets:
            raise HTTPException(404)
        return answer(request, assets[name])

    return made


def _index(assets: dict[str, Asset], *, login: bool) -> bytes:
    """The page, with the modules of its first view named, so that they are fetched at once, not one after the other."""
    page = assets[INDEX].plain
    links = "".join(f'<link rel="modulepreload" href="dashboard/{name}">\n' for name in _imported(ENTRY, assets))
    named = page.replace(b"</head>", links.encode() + b"</head>", 1)
    return named.replace(b"<html ", b'<html data-login="required" ', 1) if login else named


def _imported(entry: str, assets: dict[str, Asset]) -> list[str]:
    """A module, and all that it needs before it can run; what it fetches later is not among them."""
    found = [entry]
    for name in found:
        for target in re.findall(r'^import .*?from "(.+?)";', assets[name].plain.decode(), re.MULTILINE | re.DOTALL):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if path not in found:
                found.append(path)
    return sorted(found)
