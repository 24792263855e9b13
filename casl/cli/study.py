"""The options of a study, and the study that they ask for, with what is to be said of it printed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casl import catalog
from casl.runner import bits
from casl.spec.profile import PROVIDERS
from casl.study.basis import basis_of
from casl.study.opened import Study
from casl.study.request import STORE, StudyRequest


def open_study(options: argparse.Namespace, *, make: bool = True) -> Study:
    """The study that a command is about; what there is to say of its data is printed. make: as of Store.

    Raises:
        CaslError: as of `basis_of` and `Basis.study`.
    """
    basis = basis_of(request_of(options), counter("checking images"), make=make)
    say(options, *basis.said)
    warn(basis.warnings)
    return basis.study()


def request_of(options: argparse.Namespace) -> StudyRequest:
    """What the options of a verb ask for; some verbs have none for a part of the tables."""
    cell = getattr(options, "only_cell", None)
    return StudyRequest(
        tables=tuple(options.tables),
        profile=options.profile,
        data=Path(options.data) if options.data else None,
        crowds_are_objects=options.crowds_are_objects,
        seeds=options.seeds,
        store=Path(options.store),
        provider=options.provider,
        size=options.size,
        rule=options.rule,
        batch_size=options.batch_size,
        iters_1x=options.iters_1x,
        values=tuple(options.set),
        cell=(cell[0], cell[1]) if cell else None,
        rows=tuple(getattr(options, "only_rows", None) or ()),
        only_seed=getattr(options, "only_seed", None),
    )


PART_OPTIONS = "--cell, --row and --only-seed"


def part_options(parser: argparse.ArgumentParser) -> None:
    """Options for a part of the tables: one cell or some rows, one repetition."""
    places = parser.add_mutually_exclusive_group()
    cell_option(places, "only what one cell of each table needs", dest="only_cell")
    places.add_argument(
        "--row", dest="only_rows", action="append", metavar="ROW", help="only this row; again for each further one"
    )
    parser.add_argument("--only-seed", type=int, metavar="N", help="only one of the repetitions, counted from 0")


def cell_option(parser: argparse._ActionsContainer, said: str, dest: str = "cell") -> None:
    """One cell of a table, by its headings: two words, since a heading may hold any letter."""
    parser.add_argument("--cell", dest=dest, nargs=2, action=_Once, metavar=("ROW", "COLUMN"), help=said)


class _Once(argparse.Action):
    """Keeps the words of an option, and refuses a second one, of which the first would be lost."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest, None) is not None:
            raise argparse.ArgumentError(self, "takes one cell, and was given two: give the command once for each.")
        setattr(namespace, self.dest, values)


def study_options() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    groups = "all: the paper's ten; dissertation: those of its chapters"
    tables = f"%(known)s; {groups}; or a file with an ablation, ./mine.py or ./mine.py:NAME"
    known_names(shared.add_argument("tables", nargs="+", metavar="TABLE", help=tables), "ablation")
    setting_options(shared)
    store_option(shared)
    return shared


def setting_options(parser: argparse.ArgumentParser, repeated: str = "every training") -> None:
    """Options for all of a study but its tables and its store. repeated: of what --seeds says how often."""
    profile = parser.add_argument("--profile", default=StudyRequest.profile, help="%(known)s (default %(default)s)")
    known_names(profile, "profile")
    parser.add_argument("--data", default="", help="data set on disk instead of the profile's own")
    seeds = f"repetitions of {repeated} (default %(default)s)"
    parser.add_argument("--seeds", type=int, default=StudyRequest.seeds, help=seeds)
    _recipe_options(parser)


@dataclass(frozen=True)
class _Known:
    """The names of a kind as text, looked up when help is printed and not whenever a command builds the parser."""

    kind: str

    def __str__(self) -> str:
        return ", ".join(catalog.names(self.kind))


def known_names(action: argparse.Action, kind: str) -> None:
    """Give an argument's help the names of the catalog as %(known)s."""
    vars(action)["known"] = _Known(kind)


def _recipe_options(parser: argparse.ArgumentParser) -> None:
    """Options for what may differ from the profile's recipe."""
    parser.add_argument(
        "--rule", default="", help="where learning rates drop: A as detectron2, B as EntitySeg, C as mmdetection"
    )
    parser.add_argument(
        "--provider",
        default=StudyRequest.provider,
        metavar="PROJECT",
        help=f"whose RetinaNet, R-CNNs and PanopticFPN: {', '.join(PROVIDERS)} (default {StudyRequest.provider})",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="images an iteration; rates and lengths follow")
    parser.add_argument("--iters-1x", type=int, metavar="N", help="iterations of 1x, in which all lengths are counted")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="one value in every chain, such as warmup.threshold=0.4; may be given for several",
    )
    parser.add_argument("--size", type=int, metavar="PX", help="short side of images on disk; objects' sizes follow")
    crowds_option(parser)


def bits_option(
    parser: argparse.ArgumentParser, default: str = "default portable in small profiles, but not in photos"
) -> None:
    """Which kernels compute on the CPU."""
    parser.add_argument(
        "--bits",
        choices=bits.MODES,
        default="",
        help=f"on the CPU: the same bits on every x86-64 processor with AVX2, or its fastest kernels ({default})",
    )


def worker_variables(study: Study, asked: str) -> dict[str, str]:
    """Variables that workers need for the bits asked for, "" for the profile's; says where they cannot be had."""
    mode, said = bits.choose(asked, small=study.profile.small and not study.profile.native)
    print(said and f"note: {said}\n", end="", file=sys.stderr)
    return bits.environment(mode)


def crowds_option(parser: argparse.ArgumentParser) -> None:
    """How to read annotations marked as crowds."""
    parser.add_argument(
        "--crowds-are-objects",
        action="store_true",
        help="of a set on disk: annotations with iscrowd 1 are single objects, as CVAT's brush masks are",
    )


def store_option(shared: argparse.ArgumentParser) -> None:
    shared.add_argument("--store", default=STORE, help=f"folder of all results (default {STORE})")


def mlflow_option(verb: argparse.ArgumentParser) -> None:
    """Of a verb that reads MLflow or writes there."""
    verb.add_argument(
        "--mlflow",
        default=os.environ.get("MLFLOW_TRACKING_URI", ""),
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, or a database in the store)",
    )


def counter(what: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {done}/{total}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show


def say(options: argparse.Namespace, *lines: str) -> None:
    """Lines for people; with --json only JSON goes to stdout."""
    for line in lines:
        print(line, file=sys.stderr if getattr(options, "json", False) else sys.stdout)


def warn(lines: Iterable[str]) -> None:
    print(*(f"warning: {line}\n" for line in lines), sep="", end="", file=sys.stderr)
