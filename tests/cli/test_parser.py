"""Help, examples and errors of every verb."""

from __future__ import annotations

import re
import shlex
from importlib import metadata
from pathlib import Path

import pytest

from casl.cli import main, parser
from casl.cli.parser import EMPTY_MEANS, RENAMED, Parser
from casl.cli.reference import reference, verbs_of

ROOT = Path(__file__).resolve().parents[2]
VERBS = [verb for verb, _ in verbs_of(parser())]
EXAMPLE = re.compile(r"^  (casl .+?)(?:   +.*)?$", re.MULTILINE)  # two blanks, the command, three or more, what it does


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.prog)
def test_every_verb_has_help_and_examples_that_parse(verb: Parser) -> None:
    commands = EXAMPLE.findall(verb.format_help())
    assert any(c.startswith(verb.prog) for c in commands), f"{verb.prog} --help shows no example"
    for command in commands:
        parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.prog)
def test_every_option_says_what_it_is(verb: Parser) -> None:
    listed = re.findall(r"^  (-.*)$", verb.format_help(), re.MULTILINE)
    alone = [option for option in verb.options if any(line.strip() == option for line in listed)]
    shown = verb.format_help()
    silent = [o for o in alone if not re.search(rf"^  {re.escape(o)}\n {{20,}}\S", shown, re.MULTILINE)]
    assert not silent


def test_only_verbs_that_read_mlflow_or_write_there_have_an_option_for_it() -> None:
    theirs = {verb.prog.removeprefix("casl ") for verb in VERBS if "--mlflow" in verb.options}
    assert theirs == {*["run", "sync", "report", "reproduce", "tune", "ui", "predict", "label", "convert", "doctor"]}


def test_the_reference_in_docs_is_that_of_the_parser() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(parser()), "make docs"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rnu table4", "did you mean 'run'"),
        ("tabel4 --profile smoke", "did you mean `casl run table4`"),
        ("table10", "did you mean `casl run table10`"),
        ("store table4", "known: explain, export"),
        ("store sl", "did you mean 'ls'"),
        ("run table4 --profle smoke", "did you mean '--profile'"),
        ("run table4 --seed 2", "unknown option '--seed'.\n  did you mean '--seeds'"),
        ("plan table4 --prof smoke", "did you mean '--profile'"),
        ("tune --low=3 --pru=none", "did you mean '--pruner'"),
        ("predict photo.png --mod finetune-1", "unknown option '--mod'.\n  did you mean '--model'"),
        ("store gc --left", "did you mean '--leftovers'"),
        ("run table4 --workers 2", "unknown option '--workers'.\n  it is called '--jobs' now."),
        ("tune --workers=2", "it is called '--jobs' now."),
        ("tune --timeout 60", "it is called '--budget' now."),
        ("store export warmup-1 --output a.tar", "it is called '--out' now."),
        ("plan table4 --mlflow there", "unknown option '--mlflow'.\n  `casl plan --help`"),
        ("run table4 --seeds two", "argument --seeds: it takes a whole number, got 'two'"),
        ("plan table4 --probe 0", "argument --probe: it takes at least 1 image, or none for whole batches; got 0"),
        ("plan table4 --probe -1", "got -1"),
        ("plan table4 --probe some", "argument --probe: it takes a whole number, got 'some'"),
        ("tune --low x", "argument --low: it takes a number, got 'x'"),
        ("data chekc x", "did you mean 'check'"),
        ("show a b", "unexpected argument 'b'"),
        ("data", "verbs: check, prepare, import, split, scenes"),
        ("score --gt g.json", "--dt, --metric"),
    ],
)
def test_a_command_that_is_not_understood_says_what_was_meant(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == ""
    assert message in captured.err and "--help" in captured.err


def words_for(verb: Parser) -> list[list[str]]:
    """An empty value of each option, in both spellings, and of the first argument."""
    taking = [a.option_strings[-1] for a in verb._actions if a.option_strings and a.nargs != 0]
    options = [option for option in taking if option not in EMPTY_MEANS]
    first = [[""]] * any(not a.option_strings for a in verb._actions)
    return [*([option, ""] for option in options), *([f"{option}="] for option in options), *first]


@pytest.mark.parametrize(
    ("verb", "words"),
    [(v, words) for v in VERBS if not v.prog.startswith("casl data ") for words in words_for(v)],
    ids=lambda value: value.prog if isinstance(value, Parser) else " ".join(value),
)
def test_an_empty_value_is_neither_the_default_nor_the_working_folder(
    verb: Parser, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        verb.parse_args(words)
    assert ended.value.code == 2
    assert f"{verb.prog}: {words[0].rstrip('=')}" in (said := capsys.readouterr().err)
    assert " is empty, as from a variable of the shell that is not set: " in said


def test_a_value_that_says_something_when_it_is_empty_is_taken() -> None:
    options = parser().parse_args(["run", "table4", "--mlflow", "", "--cell", "", "W 1x"])
    assert (options.mlflow, options.only_cell) == ("", ["", "W 1x"])


@pytest.mark.parametrize(("renamed", "now"), RENAMED.items())
def test_what_an_option_is_called_now_is_an_option(renamed: tuple[str, str], now: str) -> None:
    verb, before = renamed
    (options,) = (v.options for v in VERBS if v.prog == f"casl {verb}")
    assert now in options and before not in options


def test_after_two_dashes_every_word_is_an_argument() -> None:
    assert parser().parse_args(["show", "--", "--seeds"]).name == "--seeds"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"casl {metadata.version('casl')}\n"
