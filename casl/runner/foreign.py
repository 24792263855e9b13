"""Archives come from elsewhere: their members and records are judged before anything of them reaches the store.

Two kinds of fault differ. A file that was cut or changed on its way is damage: that stage is left out, the others come.
What no export writes, such as a record of wrong types or one of other fields than its key stands for, was made on
purpose or by other software: the whole archive is refused.
"""

from __future__ import annotations

import dataclasses
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from casl.errors import SpecError, StoreError
from casl.files import JsonError, json_value, sha256
from casl.runner.provenance import SOURCES
from casl.runner.record import problem_of, problem_of_digest
from casl.spec.freeze import thaw, types
from casl.spec.run import RESULT
from casl.spec.stage import Stage, digest, split_name

MANIFEST = "manifest.json"
MANIFEST_BYTES = 1 << 24  # some three hundred thousand names
RECORD_BYTES = 1 << 26
TOTAL_BYTES = 10**12  # of all members, unless the caller says another limit
STAGE_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}")
SOURCE_NAME = re.compile(r"[0-9a-f]{64}\.(json|diff)")
Record = Mapping[str, Any]


class BoundedFile(io.FileIO):
    """An archive that is read in pieces: tarfile trusts the length that a header gives, however long it is."""

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes.

        Raises:
            StoreError: more are asked for than any header of an export has.
        """
        if size is None or not 0 <= size <= MANIFEST_BYTES:
            raise StoreError(f"{self.name} has a header that says {size} bytes, which no export writes.")
        return super().read(size)


class Members:
    """Judges the members of an archive one by one.

    Args:
        archive: its path, for messages.
        most: bytes that all members may have together.
    """

    def __init__(self, archive: Path, most: int) -> None:
        self.archive, self.most = archive, most
        self._bytes = 0

    def place(self, member: tarfile.TarInfo) -> PurePosixPath:
        """Where a member may be unpacked, relative to the target.

        Raises:
            StoreError: it is no plain file at a place that exports use, or too large.
        """
        path = PurePosixPath(member.name)
        if not (_is_plain(member) and _is_inside(member.name) and _is_known(path.parts)):
            raise self._refused(f"holds {member.name!r}, which no export writes")
        if path.name == RESULT and member.size > RECORD_BYTES:
            raise self._refused(f"holds {member.name} of {member.size:,} bytes; a record has at most {RECORD_BYTES:,}")
        self._bytes += member.size
        if self._bytes > self.most:
            raise self._refused(
                f"holds more than {self.most:,} bytes, the limit of an import", "\n  --most-gb N sets another limit."
            )
        return path

    def manifest(self, member: tarfile.TarInfo | None) -> tarfile.TarInfo:
        """The first member, which says what an archive is.

        Raises:
            StoreError: it is something else, or too large.
        """
        if member is None or member.name != MANIFEST or not _is_plain(member):
            raise StoreError(f"{self.archive} is no archive of `casl store export`: it does not begin with {MANIFEST}.")
        if member.size > MANIFEST_BYTES:
            raise self._refused(f"has a {MANIFEST} of {member.size:,} bytes; at most {MANIFEST_BYTES:,} are read")
        return member

    def _refused(self, fault: str, advice: str = "") -> StoreError:
        return StoreError(f"{self.archive} {fault}; nothing of it was taken over.{advice}")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse() and member.size >= 0


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return ".." not in path.parts and not path.is_absolute() and "\\" not in name and "\0" not in name


def _is_known(parts: tuple[str, ...]) -> bool:
    if parts == (MANIFEST,):
        return True
    if len(parts) == 2 and parts[0] == SOURCES:
        return bool(SOURCE_NAME.fullmatch(parts[1]))
    return len(parts) > 2 and parts[0] == "stages" and bool(STAGE_NAME.fullmatch(parts[1]))


@dataclasses.dataclass
class Verdict:
    """What is wrong with the stages of an archive, by name. damaged: left out. forged: the archive is refused.

    records: of the sound ones.
    """

    records: dict[str, Record] = dataclasses.field(default_factory=dict)
    damaged: dict[str, str] = dataclasses.field(default_factory=dict)
    forged: dict[str, str] = dataclasses.field(default_factory=dict)


def judge(folders: Mapping[str, Path], others: Mapping[str, Record]) -> Verdict:
    """Compare unpacked stages with their own records, and each record with the key that it claims.

    Args:
        folders: name -> where the stage was unpacked.
        others: records of further results by name: those that the store has.
    """
    verdict = Verdict()
    for name, folder in folders.items():
        try:
            record = json_value((folder / RESULT).read_bytes())
        except JsonError as error:
            verdict.forged[name] = f"its record is none: {error}"
            continue
        except (OSError, ValueError) as error:
            verdict.damaged[name] = f"its record cannot be read ({error})"
            continue
        if problem := problem_of(record):
            verdict.forged[name] = f"its record is none: {problem}"
        elif problem := _content_problem(folder, record):
            verdict.damaged[name] = problem
        else:
            verdict.records[name] = record
    every = {**others, **verdict.records}
    for name, record in list(verdict.records.items()):
        unknown, false = _identity_problem(name, record, every)
        changed = "" if unknown or false else problem_of_digest(record)
        if unknown or false or changed:
            (verdict.forged if false else verdict.damaged)[name] = unknown or false or changed
            del verdict.records[name]
    return verdict


def _content_problem(folder: Path, record: Record) -> str:
    expected = {file: (entry["sha256"], entry["bytes"]) for file, entry in record["files"].items()}
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    del found[RESULT]
    if odd := sorted(found.keys() ^ expected.keys()):
        return f"{odd[0]} is {'missing' if odd[0] in expected else 'not part of its record'}"
    changed = [f for f, e in expected.items() if (sha256(found[f]), found[f].stat().st_size) != e]
    return f"{changed[0]} differs from what was committed" if changed else ""


def _identity_problem(name: str, record: Record, every: Mapping[str, Record]) -> tuple[str, str]:
    """Why its fields cannot be judged by this version of casl, or why they do not belong to its key and name."""
    if split_name(name).key != record["key"][:16]:
        return "", f"its record is that of another stage, key {record['key'][:16]}"
    if unknown := _unknown(record["stage"]):
        return f"{unknown} is unknown to this version of casl, so that its key cannot be checked", ""
    try:
        stage = thaw(record["stage"])
    except (SpecError, TypeError, ValueError, AttributeError, ArithmeticError):
        return "", "its fields have wrong types or values"
    if not isinstance(stage, Stage) or stage.kind != split_name(name).kind:
        return "", "its fields are those of another kind"
    try:
        key = _key_of(stage, _versions(name, every))
        inputs = [f"{parent.kind}-{_key_of(parent, _versions(name, every))[:16]}" for parent in stage.inputs()]
    except (SpecError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return "", "its fields have wrong types or values"
    if key != record["key"] and "left_out" in record and any(n not in every for n in record.get("inputs", ())):
        return "it is of an earlier version, and without what it was made from its key cannot be checked", ""
    if key != record["key"]:
        return "", f"its fields give the key {key[:16]}, its record says {record['key'][:16]}"
    return "", "" if record.get("inputs", inputs) == inputs else "its inputs are not those of its fields"


def _unknown(value: Any) -> str:
    """A type or field of a frozen stage that is not known here; "" if there is none."""
    if isinstance(value, list):
        return next(filter(None, map(_unknown, value)), "")
    if not isinstance(value, dict):
        return ""
    kind = str(value.get("type"))
    if kind not in types():
        return f"type {kind!r}"
    lacking = value.keys() - {"type", *(f.name for f in dataclasses.fields(types()[kind]))}
    return f"field {min(lacking)!r} of {kind}" if lacking else _unknown(list(value.values()))


def _key_of(stage: Stage, versions: Mapping[str, int]) -> str:
    """The key under the VERSIONs that a result was made with, which may be earlier ones than those of now."""
    payload = stage.payload()
    values = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage)}
    above = {n: {"stage": _key_of(v, versions)} for n, v in values.items() if isinstance(v, Stage)}
    fields = {n: above.get(n, value) for n, value in payload["fields"].items()}
    return digest({**payload, "version": versions.get(stage.kind, stage.VERSION), "fields": fields})


def _versions(name: str, every: Mapping[str, Record]) -> dict[str, int]:
    """Kind -> VERSION, of a result and of all it was made from, as far as recorded."""
    found: dict[str, int] = {}
    waiting, seen = [name], {name}
    while waiting:
        record = every.get(current := waiting.pop(), {})
        if "version" in record:
            found.setdefault(split_name(current).kind, record["version"])
        new = [n for n in record.get("inputs", ()) if n not in seen]
        seen.update(new)
        waiting += new
    return found
