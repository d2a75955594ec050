"""The files of the dashboard, from the folder `dashboard` beside this module."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from governor.daemon.doorway import SAFE
from governor.daemon.problems import problem

FOLDER: Final = Path(__file__).with_name("dashboard")

_files: Final = StaticFiles(directory=FOLDER)


async def index(request: Request) -> Response:
    """The page."""
    return await _file(request, "index.html")


async def asset(request: Request) -> Response:
    """What the page loads."""
    return await _file(request, str(request.path_params["file"]))


async def _file(request: Request, name: str) -> Response:
    try:
        response = await _files.get_response(name, request.scope)
    except HTTPException as error:
        return problem(HTTPStatus(error.status_code), f"The dashboard has no file {name!r}.")
    response.headers.update(SAFE)
    # Asked for again each time, and then mostly not sent again: so a page is never older than its scripts.
    response.headers["Cache-Control"] = "no-cache"
    return response
