"""Forms as the pages send them."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request

MAX_FORM_BYTES = 200_000
MAX_FIELDS = 500


async def _read_form(request: Request) -> dict[str, str]:
    """Return the form's text fields; of a name that is sent twice the last counts.

    Raises:
        HTTPException: 411 or 413, its size is not stated or too large; 422, it holds a file.
    """
    length = request.headers.get("Content-Length")
    if length is None:
        raise HTTPException(411, "the form's size is not stated; send Content-Length")
    if int(length) > MAX_FORM_BYTES:
        raise HTTPException(413, f"the form has {int(length):,} bytes; send at most {MAX_FORM_BYTES:,}")
    async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
        fields = dict(form)
    if not all(isinstance(value, str) for value in fields.values()):
        raise HTTPException(422, "the form holds a file; send text fields only")
    return {name: str(value) for name, value in fields.items()}


Form = Annotated[dict[str, str], Depends(_read_form)]
