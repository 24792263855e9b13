"""What surrounds a table on its page: folders that commands name, where runs are, what the code of today asks for."""

from __future__ import annotations

from dataclasses import dataclass

from casl.report import blocks
from casl.report.commands import USUAL, Where, commands, whole
from casl.report.table import Table
from casl.report.today import NOT_KNOWN, Today
from casl.tracking.server import HOST, PORT

MLFLOW = f"http://{HOST}:{PORT}"  # where `make ui` serves its pages


@dataclass(frozen=True)
class Setting:
    """where: folders as they were typed. mlflow: address of MLflow's pages, with which links to runs begin. today: to
    tell what is older than the code."""

    where: Where = USUAL
    mlflow: str = MLFLOW
    today: Today = NOT_KNOWN


PLAIN = Setting()


def again(table: Table, setting: Setting) -> list[blocks.Text]:
    """Commands that make the numbers again; of an older table those of its own commits, since today's code refuses."""
    if not setting.today.is_older(table):
        return [(f"{what}: ", blocks.Marked("code", command)) for what, command in commands(table, setting.where)]
    made = blocks.Marked("code", whole(table, setting.where))
    reproduce = blocks.Marked("code", "casl reproduce")
    refused = ("the code of today does not make these numbers: ", reproduce, " refuses, since it asks for other stages")
    now = ("the table as the code of today measures it: ", made)
    if not table.commits:
        return [(*refused, "; their commit is not recorded"), now]
    first = table.commits[0].partition(" ")[0]
    checkout = blocks.Marked("code", f"git checkout {first}")
    commits = blocks.between([blocks.Marked("code", commit) for commit in table.commits], ", ")
    old = (f"numbers of {first}, in a clone of its own: ", checkout, ", then ", made)
    return [(*refused, "; they are of commit ", *commits), old, now]
