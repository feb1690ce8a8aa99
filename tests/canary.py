"""Keys that no test may find written anywhere: those that tests use for the broker, in every form they could take."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

KEY_ID = "PKCANARY4X9LZ0T8Q2M7"
SECRET = 'cAnArY"s3cret+key/9Kd=Vq&Zw'

_FORMS = {
    form.encode()
    for value in (KEY_ID, SECRET)
    for form in (value, quote(value, safe=""), json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode())
}


def is_in(data: bytes | str) -> bool:
    """Whether one of the keys is in there."""
    found = data.encode("utf-8", "replace") if isinstance(data, str) else data
    return any(form in found for form in _FORMS)


def files_with_keys(folder: Path) -> list[Path]:
    """The files below this folder that hold a key."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and is_in(path.read_bytes())]
