"""The parser of every verb: examples under --help, and errors that say what was meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NoReturn

from casl import catalog
from casl.cli.examples import examples_of
from casl.errors import nearest, unknown

WRONG = 2  # exit code of a command that was not understood
# options of earlier versions: verb and option -> what it is called now
RENAMED = {
    ("run", "--workers"): "--jobs",
    ("tune", "--workers"): "--jobs",
    ("tune", "--timeout"): "--budget",
    ("store export", "--output"): "--out",
}
# options whose empty value says something: MLflow in the store, whatever the environment says; a heading; no choices
EMPTY_MEANS = frozenset(("--mlflow", "--cell", "--row", "--choices"))
_PLAIN = {"invalid int value: ": "it takes a whole number, got ", "invalid float value: ": "it takes a number, got "}


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that names near misses. Its verbs are parsed by others of its kind.

    A verb without an epilog of its own gets its examples from casl/cli/examples.py.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)  # the beginning of an option may be that of another one later
        super().__init__(*args, **kwargs)
        self.epilog = self.epilog or examples_of(self.prog)

    @property
    def verbs(self) -> dict[str, argparse.ArgumentParser]:
        """Its verbs by name; none for a verb that has no others below it."""
        groups = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        return dict(groups[0].choices) if groups else {}

    @property
    def options(self) -> list[str]:
        """The options it knows, as they are typed."""
        return [name for action in self._actions for name in action.option_strings]

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's, but an unknown verb or option ends the program."""
        given = list(sys.argv[1:] if args is None else args)
        verb = next((a for a in given if not a.startswith("-")), None)
        if self.verbs and verb is not None and verb not in self.verbs:
            self.error(self._no_verb(verb))
        if not self.verbs and (wrong := self._unknown_options(given)):
            self.error("\n".join(map(self._too_much, wrong)))  # before what is missing, which may be what was meant
        known, rest = super().parse_known_args(given, namespace)
        if rest:
            options = [word for word in rest if word.startswith("-")]
            self.error("\n".join(map(self._too_much, options or rest)))  # a word may belong to the unknown option
        return known, rest

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse's, but an empty value ends the program: it would stand for the working folder, or a default.

        Verbs of `data` say it themselves, where an empty share is no empty folder.
        """
        own_word = isinstance(action, argparse._SubParsersAction) or self.prog.startswith("casl data ")
        if "" in arg_strings and not own_word and not EMPTY_MEANS.intersection(action.option_strings):
            name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest.upper()
            way_out = "leave it out, or give it a value" if action.option_strings else "give it a value"
            self.error(f"{name} is empty, as from a variable of the shell that is not set: {way_out}.")
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        """End with WRONG, after what is wrong and where to read more."""
        for said, plain in _PLAIN.items():
            message = message.replace(said, plain)
        known = f"  verbs: {', '.join(self.verbs)}.\n" if self.verbs and "known:" not in message else ""
        self.exit(WRONG, f"{self.prog}: {message}\n{known}  `{self.prog} --help` says more, with examples.\n")

    def _no_verb(self, word: str) -> str:
        """What is wrong with a word that is no verb; the name of a table, or nearly so, stands for `casl run` of it."""
        tables = catalog.names("ablation") if "run" in self.verbs else ()
        near = nearest(word, [*self.verbs, *tables])
        if not near or near in self.verbs:
            return unknown("verb", word, self.verbs)
        verbs = ", ".join(sorted(self.verbs))
        return f"unknown verb {word!r}; known: {verbs}.\n  did you mean `{self.prog} run {near}`?"

    def _unknown_options(self, given: Sequence[str]) -> list[str]:
        """Long options that it does not know; after -- all words are arguments, and one with a blank is always one."""
        before = given[: given.index("--")] if "--" in given else given
        return [w for w in before if w.startswith("--") and " " not in w and w.partition("=")[0] not in self.options]

    def _too_much(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected argument {word!r}."
        name = word.partition("=")[0]
        if now := RENAMED.get((self.prog.removeprefix("casl "), name)):
            return f"unknown option {name!r}.\n  it is called {now!r} now."
        longer = [option for option in self.options if option.startswith(name)]
        known = {option.lstrip("-"): option for option in longer or self.options}  # dashes make any two look alike
        near = nearest(name.lstrip("-"), known, likeness=0.0 if longer else 0.5)
        return f"unknown option {name!r}." + (f"\n  did you mean {known[near]!r}?" if near else "")


class Version(argparse.Action):
    """--version: looked up when asked for only, since every command builds the parser."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"casl {installed_version()}")
        parser.exit()


def installed_version() -> str:
    """Version of casl as installed."""
    try:
        return metadata.version("casl")
    except metadata.PackageNotFoundError:
        return "(not installed)"
