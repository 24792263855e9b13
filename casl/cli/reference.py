"""docs/cli.md, made from the parser: `python -m casl.cli.reference docs/cli.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from casl.cli.parser import Parser

HEAD = """# The command line

Made from the parser by `make docs`; `casl VERB --help` says the same, with every option.

Exit codes, of every verb:

| code | means |
|---|---|
| 0 | all is well |
| 1 | done, and something is wrong: failed stages or trials, errors in data, a damaged store, no number to report |
| 2 | the command, a spec, the data, the store or this machine is wrong, and the work was not begun or not finished |
| 130 | stopped with Ctrl-C or SIGTERM; the same command goes on from there |
| 141 | stopped, since nothing read the output any more, as `head` does not; the same command goes on from there |

An error is a sentence on standard error: what is wrong, what there is, what to do. Letters that the terminal cannot
show are printed as escapes.

With `--json`, standard output is one JSON value and people's lines go to standard error. Options are typed in full;
stages are named by any beginning of their name or key that only one has.
"""


def reference(root: Parser) -> str:
    """Every verb with what it does and its examples, as Markdown."""
    parts = [HEAD, "## Verbs\n\n| verb | does |\n|---|---|"]
    every = list(verbs_of(root))
    parts[-1] += "".join(f"\n| [`{p.prog}`](#{p.prog.replace(' ', '-')}) | {said} |" for p, said in every)
    for parser, said in every:
        epilog = f"\n\n```\n{parser.epilog.strip()}\n```" if parser.epilog else ""
        parts.append(f"### {parser.prog}\n\n{said[:1].upper()}{said[1:]}.{epilog}")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def verbs_of(parser: Parser) -> Iterator[tuple[Parser, str]]:
    """Every verb that can be typed, in the order of --help, with what that says of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            said = {choice.dest: choice.help or "" for choice in action._get_subactions()}
            for name, verb in action.choices.items():
                yield from verbs_of(verb) if verb.verbs else [(verb, said.get(name, ""))]


def main() -> None:
    """Write the reference into the file named on the command line."""
    from casl.cli import parser

    root = parser()
    assert isinstance(root, Parser)
    Path(sys.argv[1]).write_text(reference(root))


if __name__ == "__main__":
    main()
