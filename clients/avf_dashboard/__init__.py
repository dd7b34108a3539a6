"""The dashboard: static files, served as they lie in `page/`. There is no build step, and no code but what is there.

The law: what a browser needs of it is one folder, and nothing in it names another origin.
"""

from pathlib import Path

PAGE = Path(__file__).parent / "page"
"""The folder of the page; `index.html` is its entry, and expects its neighbours under `dashboard/`."""


def files() -> dict[str, Path]:
    """Every file of the page by its name within the folder, with forward slashes."""
    return {path.relative_to(PAGE).as_posix(): path for path in sorted(PAGE.rglob("*")) if path.is_file()}
