"""The dashboard at `/`: static files, read and compressed once, with headers that keep the page to its own origin.

The law: the page is public and holds no data; what it shows comes from the public interface, with the token of whoever
looks. Nothing inline is run or styled, nothing leaves the origin, and the page is never framed.
"""

import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass

import avf_dashboard
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked again each time, and mostly answered by 304: a new release is seen at once
    "Vary": "Accept-Encoding",
}
INDEX = "index.html"
ENTRY = "app.js"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file as it is sent: plain, and by gzip."""

    plain: bytes
    packed: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, suffix: str, plain: bytes) -> "Asset":
        """The asset of a file. Raises KeyError where the page has a kind of file that it should not have."""
        return cls(
            plain=plain,
            packed=gzip.compress(plain, 9, mtime=0),
            media_type=MEDIA_TYPES[suffix],
            tag=hashlib.sha256(plain).hexdigest()[:20],
        )


def router(*, login: bool) -> APIRouter:
    """The routes of the page, with its files in memory; with `login`, it asks for a key before anything else."""
    assets = {name: Asset.of(path.suffix, path.read_bytes()) for name, path in avf_dashboard.files().items()}
    assets[INDEX] = Asset.of(".html", _index(assets, login=login))
    made = APIRouter(include_in_schema=False)

    @made.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return _answer(request, assets[INDEX])

    @made.api_route("/dashboard/{name:path}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        if name == INDEX or name not in assets:
            raise HTTPException(404)
        return _answer(request, assets[name])

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


def _answer(request: Request, asset: Asset) -> Response:
    """The asset, or 304 where the browser has it; by gzip where it takes that."""
    packed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{asset.tag}{"-gz" if packed else ""}"'
    headers = HEADERS | {"ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.packed if packed else asset.plain, headers=headers, media_type=asset.media_type)
