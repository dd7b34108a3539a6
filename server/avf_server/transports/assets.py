"""Files of pages, compressed once, and how they are answered: with headers that keep a page to its own origin.

The law: nothing leaves the origin, nothing inline is run, no page is framed; a browser that has a file gets 304.
"""

import gzip
import hashlib
from dataclasses import dataclass

from fastapi import Request, Response

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "media-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked again each time, and mostly answered by 304: a new release is seen at once
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file as it is sent: plain, and by gzip."""

    plain: bytes
    packed: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, suffix: str, plain: bytes) -> "Asset":
        """The asset of a file. Raises KeyError where it is of a kind that pages should not have."""
        return cls(
            plain=plain,
            packed=gzip.compress(plain, 9, mtime=0),
            media_type=MEDIA_TYPES[suffix],
            tag=hashlib.sha256(plain).hexdigest()[:20],
        )


def answer(request: Request, asset: Asset, **policy: str) -> Response:
    """The asset, or 304 where the browser has it; by gzip where it takes that.

    policy  what differs from POLICY, with underscores for dashes
    """
    packed = "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{asset.tag}{"-gz" if packed else ""}"'
    rules = POLICY | {name.replace("_", "-"): value for name, value in policy.items()}
    said = "; ".join(f"{name} {value}" for name, value in rules.items())
    headers = HEADERS | {"Content-Security-Policy": said, "ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.packed if packed else asset.plain, headers=headers, media_type=asset.media_type)
