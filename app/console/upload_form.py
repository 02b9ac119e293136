"""Receives a form with a file, part by part: the file goes to a temporary file, and never into the memory as a whole."""

import hmac
import tempfile
from typing import IO, TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from platform_relay.api.import_files import BodyParts, temporary_space
from platform_relay.api.request_body import declared_size
from platform_relay.console.pages import Form, PageError, Pages, Visitor, require_same_origin
from platform_relay.imports.uploads import MAX_BYTES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELDS: Final = 10
FIELD_BYTES: Final = 1000
"""Of the value of a field that is no file."""
OVERHEAD: Final = 64 << 10
"""Bytes of the form around the file."""


class UploadForm:
    """The fields of the form, and its file. `file` is open, and is deleted when it is closed."""

    def __init__(self) -> None:
        self.fields = Form()
        self.file_name = ""
        self.file: IO[bytes] = tempfile.NamedTemporaryFile(prefix="relay-import-")  # noqa: SIM115  # the caller closes it


async def upload_form(pages: Pages, request: Request) -> tuple[Visitor, UploadForm]:
    """The visitor, and the form with its file. The token has to come before the file, so that nothing of a forged form is stored.
    Raises as `Pages.form`, PageError for a form that is too large or broken, WrongState if there is no
    space, BodyTooSlow, and ClientDisconnect."""
    require_same_origin(request)
    visitor = await pages.visitor(request, "operate")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise _broken()
    if declared_size(request, 0) > MAX_BYTES + OVERHEAD:
        raise PageError(413, "The file is too large", f"A file has at most {MAX_BYTES >> 30} GiB. Use relay import.")
    form = UploadForm()
    try:
        parts = _Parts(form, visitor.session.token)
        parser = MultipartParser(boundary, parts.callbacks, max_header_count=8, max_header_size=4096)
        with temporary_space():
            async for data in BodyParts(request, MAX_BYTES + OVERHEAD):
                parser.write(data)
            if not parts.ended or parts.files != 1:
                raise _broken()
            form.file.flush()
        form.file.seek(0)
    except FormParserError:
        form.file.close()
        raise _broken() from None
    except BaseException:
        form.file.close()
        raise
    return visitor, form


class _Parts:
    """Collects the parts of a form. Its methods are the callbacks of the parser; they raise PageError."""

    def __init__(self, form: UploadForm, token: str) -> None:
        self._form = form
        self._token = token.encode()
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = b""
        self._name = ""
        self._value: bytearray | None = None
        """Of a field; None while the file is read."""
        self._count = self.files = 0
        self.ended = False

    @property
    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > FIELDS:
            raise _broken()
        self._disposition = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = map(bytes, self._header)
        self._header = (bytearray(), bytearray())
        if name.lower() == b"content-disposition":
            self._disposition = value

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            self._value = bytearray()
            return
        self._value = None
        self.files += 1
        if not hmac.compare_digest(self._form.fields["token"].encode(), self._token):
            raise PageError(403, "This form has expired", "Go back, reload the page and send it again.")
        if self.files > 1 or self._name != "file":
            raise _broken()
        self._form.file_name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self._form.file.write(data[start:end])
            return
        self._value.extend(data[start:end])
        if len(self._value) > FIELD_BYTES:
            raise _broken()

    def _end(self) -> None:
        if self._value is not None:
            self._form.fields[self._name] = self._value.decode("utf-8", "replace").replace("\x00", "").strip()

    def _all(self) -> None:
        self.ended = True


def _broken() -> PageError:
    return PageError(422, "The form cannot be read", "Go back, reload the page, choose one file, and send it again.")
