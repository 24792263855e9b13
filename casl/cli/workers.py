"""Where and how `casl run` lets stages run: its options, and the command that repeats them."""

from __future__ import annotations

import argparse
import shlex

from casl import catalog
from casl.cli.study import bits_option, known_names, mlflow_option, part_options, study_options
from casl.durations import seconds_of
from casl.errors import SpecError
from casl.runner.devices import check_device
from casl.runner.launch.local import visible_gpus

_LIMITS = (
    ("jobs", 0, 10_000),
    ("loaders", 0, 1_000),
    ("per_gpu", 1, 1_000),
    ("gpus_per_stage", 1, 10_000),
    ("nodes", 1, 10_000),
)


def worker_options(verb: argparse.ArgumentParser) -> None:
    """Options of every verb that lets stages run: where and how they do; what they compute is not theirs."""
    known_names(verb.add_argument("--launcher", default="local", help="%(known)s (default local)"), "launcher")
    verb.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="stages at once; default one a GPU, or one a core"
    )
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    verb.add_argument("--loaders", type=int, default=0, help="threads preparing batches in each worker (default 0)")
    verb.add_argument(
        "--weights", default="", help="folder of pretrained <backbone>.safetensors (default STORE/weights)"
    )
    bits_option(verb)


def cluster_options(run: argparse.ArgumentParser) -> None:
    """Options of `run` alone: which GPUs and machines stages get, and for how long."""
    run.add_argument("--gpus", default="", metavar="0,1", help="GPUs to use (default all that are there)")
    run.add_argument("--per-gpu", type=int, default=1, metavar="N", help="stages that share a GPU (default 1)")
    run.add_argument(
        "--gpus-per-stage",
        type=int,
        default=1,
        metavar="N",
        help="GPUs that do a stage together (with --device cpu: processes)",
    )
    run.add_argument("--nodes", type=int, default=1, metavar="N", help="machines of that many ranks each (slurm)")
    run.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the launcher, as slurm.partition=gpu"
    )
    run.add_argument("--time-limit", default="0", metavar="30m", help="of one stage; 0 for none (default)")


def check_placement(options: argparse.Namespace) -> None:
    """Check the launcher, the device, counts and the time limit before anything is begun; `casl tune` has not all.

    Raises:
        SpecError: there is no such launcher, or no such device where it runs stages; a count is out of range; or
            GPUs are asked for by number alone where there is none, which would begin as many processes on cores.
    """
    launcher = catalog.load("launcher", options.launcher)
    check_device(options.device, here=launcher.here)
    for name, least, most in _LIMITS:
        if not least <= (count := getattr(options, name, least)) <= most:
            bound = f"least {least:,}" if count < least else f"most {most:,}"
            raise SpecError(f"--{name.replace('_', '-')} must be at {bound}, got {count}")
    seconds_of(getattr(options, "time_limit", "0"), "--time-limit")
    each = getattr(options, "gpus_per_stage", 1)
    if each > 1 and options.device == "auto" and launcher.here and not visible_gpus():
        raise SpecError(
            f"--gpus-per-stage {each}: a stage was to have so many GPUs, and there is none here.\n"
            "  leave it out; with --device cpu as many processes share the cores and each stage."
        )


def next_command(verb: str, options: argparse.Namespace) -> str:
    """A command for the study of this one: its tables, then its options without those that say what is the default.

    Args:
        verb: run, whose own options are repeated too as far as this command has them; or report.
    """
    parser = argparse.ArgumentParser(parents=[study_options()], add_help=False)
    mlflow_option(parser)
    if verb == "run":
        part_options(parser)
        worker_options(parser)
        cluster_options(parser)
    found = [verb, *options.tables]
    for action in parser._actions:
        value = getattr(options, action.dest, action.default)
        if action.option_strings and value != action.default:
            found += words_of(action, value)
    return f"casl {shlex.join(found)}"


def words_of(action: argparse.Action, value: object) -> list[str]:
    """An option with its value as they are typed; one that is given once for each value is repeated."""
    name = action.option_strings[0]
    if value is True:
        return [name]
    if not isinstance(value, list | tuple):
        return [name, str(value)]
    values = [str(each) for each in value]
    return [word for each in values for word in (name, each)] if action.nargs is None else [name, *values]
