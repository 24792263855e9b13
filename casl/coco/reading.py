"""JSON files that people bring. Standard library only, so that a plan can read one without loading numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from casl.errors import DataError
from casl.files import JsonError, json_value

_PACKED = {"gzip": b"\x1f\x8b", "zip": b"PK\x03\x04", "bzip2": b"BZh", "xz": b"\xfd7zXZ"}


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: the file is missing, cannot be read, is not JSON (also: cut short), or cannot be taken as it is: see
            `casl.files.json_value`.
    """
    content = b""
    try:
        content = path.read_bytes()
        return json_value(content)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except JsonError as error:
        raise DataError(f"{path}: {error}.") from error
    except ValueError as error:
        for packer, begins in _PACKED.items():
            if content.startswith(begins):
                raise DataError(f"{path}: is packed by {packer}, whatever its name says; unpack it.") from error
        raise DataError(f"{path}: not JSON ({error}). Is the download complete?") from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, as COCO's annotation files are one.

    Raises:
        DataError: as `read_json`, or the file holds something else than an object.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path}: not COCO: the top level is a {type(data).__name__}, not an object.")
    return data
