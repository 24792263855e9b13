"""JSON files that people bring. Standard library only, so that a plan can read one without loading numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from casl.errors import DataError
from casl.files import JsonError, json_value


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: the file is missing, cannot be read, is not JSON (also: cut short), or cannot be taken as it is: see
            `casl.files.json_value`.
    """
    try:
        return json_value(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except JsonError as error:
        raise DataError(f"{path}: {error}.") from error
    except ValueError as error:
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
