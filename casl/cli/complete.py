"""Verb `complete`: names at the TAB key, in bash, zsh and fish.

The shell asks `casl` itself what may come next (argcomplete does the talking), so tables, profiles and the stages of a
store are always those of now.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from importlib import util
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import SpecError, unknown

ASKED = "_ARGCOMPLETE"  # set by the shell's script when it asks
SHELLS = ("bash", "fish", "zsh")
Completer = Callable[..., Iterable[str]]


def add(verbs: Any) -> None:
    """Verb `complete`."""
    complete = verbs.add_parser("complete", help="print a script that completes names at the TAB key")
    complete.add_argument("shell", metavar="SHELL", help=", ".join(SHELLS))
    complete.set_defaults(command=complete_command)


def complete_command(options: argparse.Namespace) -> int:
    """Print the script that a shell reads once to complete names."""
    if options.shell not in SHELLS:
        raise SpecError(unknown("shell", options.shell, SHELLS))
    if util.find_spec("argcomplete") is None:
        raise SpecError("completion needs the package argcomplete, which is not installed.\n  pip install argcomplete")
    from argcomplete.shell_integration import shellcode

    print(shellcode(["casl"], shell=options.shell))
    return 0


def answer_shell(root: argparse.ArgumentParser) -> None:
    """If a shell asks what may come next, answer and end; otherwise nothing happens."""
    if ASKED not in os.environ:
        return
    import argcomplete

    _attach(root)
    argcomplete.autocomplete(root)


def _attach(parser: argparse.ArgumentParser) -> None:
    """Tell every argument what its values may be."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _attach(verb)
        elif (completer := COMPLETERS.get(action.dest)) is not None:
            setattr(action, "completer", completer)  # noqa: B010  argcomplete's own way, which types do not know


def _from(names: Iterable[str]) -> Completer:
    return lambda **_: list(names)


def _named(kind: str) -> Completer:
    """The names of the catalog, those that other packages offer included."""
    return lambda **_: list(catalog.names(kind))


def _tables(*more: str) -> Completer:
    """Names of tables, and files that may hold one."""

    def names(prefix: str, **_: Any) -> list[str]:
        from argcomplete.completers import FilesCompleter

        return [*catalog.names("ablation"), *more, *FilesCompleter(["py"])(prefix)]

    return names


def _stages(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Finished stages of the store that the command line names so far."""
    folder = Path(getattr(parsed_args, "store", None) or "store") / "stages"
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


COMPLETERS: dict[str, Completer] = {
    "tables": _tables("all", "dissertation"),
    "table": _tables(),
    "profile": _named("profile"),
    "launcher": _named("launcher"),
    "metric": _named("metric"),
    "kind": _named("stage"),
    "device": _from(("auto", "cpu", "cuda")),
    "shell": _from(SHELLS),
    "name": _stages,
    "key": _stages,
    "keys": _stages,
    "model": _stages,
}
