"""Responses that a browser saves as a file."""

from fastapi.responses import Response


def download(content: bytes, media_type: str, name: str) -> Response:
    """Return a response with a file to save as ``name``, which is ASCII without quotes."""
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
