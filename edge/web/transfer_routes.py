"""Routes that bring lists and prices in and out: export profiles, import, price files."""

import asyncio
import zipfile
from datetime import UTC, date, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from edge.errors import CommandError, DataError
from edge.lists.export import ExportCheck, Exporter
from edge.lists.prices import PriceSource, read_prices
from edge.lists.reading import CardFinder, ReadList, read_list
from edge.web.downloads import download
from edge.web.list_routes import ListId, resolved
from edge.web.models import ImportReply, ProfilesReply, ProfileSummary, Refusal

if TYPE_CHECKING:
    from edge.lists.entry import Line
    from edge.lists.profile import Profile
    from edge.web.service import PageService

MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "text": "text/plain; charset=utf-8", "json": "application/json"}
PRICES: Final = "/api/prices"
_FILE: Final = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

ProfileName = Annotated[str, Query(max_length=100, description="Name of an export profile, see `/api/profiles`.")]


def is_transfer(path: str) -> bool:
    """Return whether the body of a request to a path is a file."""
    return path == PRICES or (path.startswith("/api/lists/") and path.endswith("/import"))


def transfer_routes(page: "PageService") -> APIRouter:
    """Return the router of these routes."""
    router = APIRouter(responses={status: {"model": Refusal} for status in (401, 403, 408, 409, 413, 422)})
    _add_profiles(router, page)
    _add_import(router, page)
    _add_prices(router, page)
    return router


def _add_profiles(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/profiles")
    def profiles() -> ProfilesReply:
        """Return the export profiles, and why files in the folder of profiles cannot be used."""
        found, problems = page.read_profiles()
        return ProfilesReply(profiles=tuple(_summary(name, profile) for name, profile in found.items()), problems=problems)

    @router.get("/api/lists/{list_id}/check")
    def check(list_id: ListId, profile: ProfileName) -> ExportCheck:
        """Return what an export of the list holds, and what the format loses."""
        return _exporter(page, profile).check(_lines(page, list_id))

    @router.get("/api/lists/{list_id}/export", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
    def export(list_id: ListId, profile: ProfileName, pictures: Annotated[int, Query(ge=0, le=1)] = 0) -> Response:
        """Download the list in the format of a profile; with its pictures, as a ZIP file."""
        chosen, lines = _profile(page, profile), _lines(page, list_id)
        content = _exporter(page, profile).write(lines)
        if pictures:
            return download(_archive(page, chosen.file, content, lines), "application/zip", f"{chosen.file}.zip")
        return download(content, MEDIA_TYPES[chosen.kind], chosen.file)


def _add_import(router: APIRouter, page: "PageService") -> None:
    @router.post("/api/lists/{list_id}/import", openapi_extra={"requestBody": _FILE})
    async def import_list(request: Request, list_id: ListId, profile: ProfileName) -> ImportReply:
        """Add the cards of a file in the format of a profile to a list; the request body is the file."""
        content = await request.body()
        read = await asyncio.to_thread(_read, page, _profile(page, profile), content)
        if not read.lines:
            raise _nothing_found(read)
        update = await page.add_lines(resolved(page, list_id), read.lines)
        return ImportReply(update=update, rows=read.rows, unmatched=read.unmatched, named=read.named)


def _add_prices(router: APIRouter, page: "PageService") -> None:
    @router.get(PRICES)
    async def prices() -> PriceSource:
        """Return where the prices come from."""
        return page.lists.prices.source()

    @router.post(PRICES, openapi_extra={"requestBody": _FILE})
    async def load_prices(
        request: Request, day: Annotated[date | None, Query(description="Date of the prices; today.")] = None
    ) -> PriceSource:
        """Use the prices of a CSV file; the request body is the file."""
        content = await request.body()
        file = await asyncio.to_thread(read_prices, content, day or datetime.now(UTC).date())
        return await asyncio.to_thread(page.use_prices, file)

    @router.post(f"{PRICES}/clear")
    async def clear_prices() -> PriceSource:
        """Use the prices of the index again."""
        return await asyncio.to_thread(page.use_prices, None)


def _summary(name: str, profile: "Profile") -> ProfileSummary:
    return ProfileSummary(profile=name, **profile.model_dump(include={"name", "kind", "file", "source", "checked"}))


def _profile(page: "PageService", name: str) -> "Profile":
    profiles, problems = page.read_profiles()
    if name not in profiles:
        reasons = "".join(f"; {problem}" for problem in problems)
        text = f"there is no export profile {name!r}; there are {', '.join(profiles)}{reasons}"
        raise CommandError(text, code="no_profile", name=name)
    return profiles[name]


def _exporter(page: "PageService", name: str) -> Exporter:
    return Exporter(_profile(page, name), page.catalog, page.lists.prices.of)


def _lines(page: "PageService", list_id: str) -> tuple["Line", ...]:
    return page.lists.lines(resolved(page, list_id))


def _archive(page: "PageService", name: str, content: bytes, lines: tuple["Line", ...]) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr(name, content)
        for line in lines:
            picture = page.pictures.get(line.event_id) if line.event_id else None
            if picture is not None:
                name = (line.card_id or "unnamed").replace("/", "_")
                file.writestr(f"pictures/{line.id}-{name}.jpg", picture)
    return archive.getvalue()


def _read(page: "PageService", profile: "Profile", content: bytes) -> ReadList:
    return read_list(profile, content, CardFinder(page.catalog.cards()), datetime.now(UTC))


def _nothing_found(read: ReadList) -> DataError:
    first = read.named[0].text if read.named else ""
    detail = f"; the first is {first!r}: {read.named[0].reason}" if first else ""
    text = f"none of the {read.rows} rows could be added{detail}; is it the right format, and the right index?"
    return DataError(text, code="nothing_imported", rows=read.rows, first=first)
