"""Pieces as steps of AI2 Tango: tango run FOLDER/steps.json -i tango_steps -w WORKSPACE -j JOBS"""

from __future__ import annotations

from piece import do_piece
from tango import Step


@Step.register("piece")
class Piece(Step):  # type: ignore[misc]
    """One piece."""

    def run(self, folder: str, number: int) -> float:
        return do_piece(folder, number)[0]
