"""Every command that a page says to type: it parses, and a test runs it or a reason says why none does."""

from __future__ import annotations

import ast
import re
import shlex

import pytest

from casl.cli import parser
from casl.cli.parser import Parser
from casl.cli.reference import verbs_of
from tests.docs.pages import ROOT, every_command, texts

COMMANDS = every_command()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z_-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) +\?=", MAKEFILE, re.MULTILINE))

# A pattern of whole commands -> the test that runs such a command: the same verb and options, other names and sizes.
RUN = {
    r"casl (data (scenes|import) drawn|data check set|(plan|run|report|reproduce) .*--data set|store verify).*": (
        "tests/docs/test_tutorials.py::test_the_evening_works_as_it_is_told"
    ),
    r"casl (plan|run|report|reproduce) .*(first|second)\.(py|json).*|casl store ls --kind warmup|casl show .*": (
        "tests/docs/test_tutorials.py::test_the_first_ablation_works_as_it_is_told"
    ),
    r"casl reproduce .*": "tests/cli/test_reproduce.py::test_a_number_is_made_again_from_nothing_and_is_the_same",
    r"casl (plan|run|report) \./mine\.py --profile smoke": "tests/outside/test_extend.py::test_every_example_runs",
    r"casl (run|report) table4( --profile smoke)?": (
        "tests/test_smoke.py::test_all_25_cells_are_measured_and_traceable"
    ),
    r"casl run table4 .*--launcher slurm .*--detach": (
        "tests/cluster/test_real_slurm.py::test_table_4_has_the_values_of_launcher_local"
    ),
    r"casl run table4 .*--launcher ray.*": (
        "tests/cluster/test_real_ray.py::test_table_4_has_the_values_of_launcher_local"
    ),
    r"casl run claims --until decided --budget 3h": (
        "tests/cli/test_decide.py::test_seeds_are_added_up_to_the_most_and_what_is_decided_is_said"
    ),
    r"casl run pre_4_2 pre_4_3 .*": "tests/test_pretraining.py::test_every_cell_is_measured_or_quoted_with_its_reason",
    r"casl plan all --profile paper --data SET --probe": (
        "tests/cli/test_probe.py::test_the_command_probes_what_is_missing_and_says_so"
    ),
    r"casl report table2 --per-class": (
        "tests/cli/test_further.py::test_ap_of_classes_is_a_page_of_its_own_that_is_asked_for"
    ),
    r"casl report table2 --errors": (
        "tests/cli/test_further.py::test_kinds_of_errors_are_a_page_of_their_own_that_is_asked_for"
    ),
    r"casl report table4 --seeds 3": (
        "tests/report/test_shipped_numbers.py::test_shipped_numbers_are_those_of_the_tables_beside_them"
    ),
    r"casl report table4 --curves": "tests/cli/test_report.py::test_curves_are_asked_for_and_linked_by_the_table",
    r"casl label .*": "tests/cli/test_label.py::test_every_format_makes_a_set_that_casl_checks",
    r"casl data check mine": "tests/cli/test_cli.py::test_a_made_data_set_passes_the_check_and_can_be_planned_with",
    r"casl data import .*": (
        "tests/cli/test_data_import.py::test_an_import_says_what_it_made_and_its_manifest_says_where_from"
    ),
    r"casl data split set --out protocol --protocol": (
        "tests/cli/test_data_import.py::test_split_draws_again_and_protocol_makes_twenty_sets"
    ),
    r"casl data prepare .*": "tests/data/test_prepare.py::test_the_command_scans_composes_and_reports",
    r"casl convert .* --to .*": (
        "tests/cli/test_convert.py::test_a_warmup_of_the_store_becomes_a_plain_dict_that_detectron2_reads"
    ),
    r"casl convert .* --from .*": (
        "tests/cli/test_convert.py::test_timms_weights_become_a_backbone_that_computes_the_same"
    ),
    r"casl predict .* --model models:.*": "tests/tracking/test_models.py::test_predict_takes_a_registered_model",
    r"casl predict photos/ .*": (
        "tests/cli/test_predict.py::test_a_folder_is_taken_with_all_its_images_and_a_bad_one_is_named"
    ),
    r"casl costs .*": "tests/cli/test_costs.py::test_speed_is_measured_when_asked_and_names_the_machine",
    r"casl tune .*": "tests/tune/test_tune.py::test_a_search_tries_every_value_and_a_second_one_does_no_work",
    r"casl score .*": "tests/cli/test_cli.py::test_score_prints_json",
    r"casl store ls": "tests/cli/test_store.py::test_ls_prints_a_line_for_each_stage",
    r"casl store explain .*": "tests/cli/test_store.py::test_explain_says_where_a_stage_stands",
    r"casl store gc": "tests/cli/test_store.py::test_gc_removes_only_with_yes",
    r"casl store (ex|im)port .*": "tests/cli/test_store.py::test_results_move_to_another_store",
    r"casl (run|report) rivals --seeds 3": (
        "tests/cli/test_reproduce.py::test_numbers_from_elsewhere_are_reported_and_never_compared_with_themselves"
    ),
    r"casl run table4 --jobs 2 --device cpu": "tests/api/test_study.py::test_a_table_is_planned_run_and_read",
    r"casl sync table4": "tests/tracking/test_server.py::test_a_sync_that_could_not_send_is_no_success",
    r"casl ui .*": "tests/cli/test_ui.py::test_it_answers_when_it_gives_its_address_and_sigterm_ends_all_of_it",
    r"make (table\d+|setup|doctor|ui|tables|reasons|publish|search)( [A-Z]+=\S+)*": (
        "tests/test_makefile.py::test_one_command_publishes_and_no_other_does"
    ),
    r"make site": "tests/docs/test_site.py::test_the_site_is_built_without_a_warning",
}
# A pattern of whole commands -> why no test runs it.
NOT_RUN = {
    r"casl (run|report) delta": "a table as any other; tests/ablations builds it",
    r"casl run table4 --gpus-per-stage \d": "needs GPUs; tests/stages/test_distributed.py trains with processes",
    r"make test( .*)?": "it runs the tests",
    r"make notebooks( PROFILE=smoke)?": "tests/notebooks runs every notebook; the target adds jupytext and nbconvert",
    r"make (held_out|confusable|finetune_length|forgetting)( SEEDS=3)?|"
    r"make (strength|fractions|rivals|ladder|thresholds|dissertation)( SEEDS=3)?": (
        "the rule is that of the other tables; tests of each ablation run its cells in a smaller profile"
    ),
    r"casl run table4 --gpus 0,1,2,3|casl run table4 --per-gpu 2": "needs GPUs; tests/runner tests who gets which",
    r"casl (run|report) (table4|all) --profile paper --data SET.*": "days of GPUs, and COCO",
}

# Every verb -> a test that runs it, whatever the options: --help, error messages and pages under reports speak of them.
VERBS = {
    "casl plan": "tests/cli/test_cli.py::test_plan_prints_counts_as_json",
    "casl run": "tests/test_smoke.py::test_all_25_cells_are_measured_and_traceable",
    "casl sync": "tests/tracking/test_server.py::test_a_sync_that_could_not_send_is_no_success",
    "casl report": "tests/cli/test_report.py::test_writing_one_table_brings_index_and_claims_up_to_it",
    "casl reproduce": "tests/cli/test_reproduce.py::test_a_number_is_made_again_from_nothing_and_is_the_same",
    "casl costs": "tests/cli/test_costs.py::test_every_detector_that_a_table_trains_is_listed_once",
    "casl tune": "tests/tune/test_tune.py::test_a_search_tries_every_value_and_a_second_one_does_no_work",
    "casl ui": "tests/cli/test_ui.py::test_it_answers_when_it_gives_its_address_and_sigterm_ends_all_of_it",
    "casl show": "tests/docs/test_tutorials.py::test_the_first_ablation_works_as_it_is_told",
    "casl predict": "tests/cli/test_predict.py::test_every_kind_of_detector_draws_and_writes_coco_results",
    "casl label": "tests/cli/test_label.py::test_every_format_makes_a_set_that_casl_checks",
    "casl convert": "tests/cli/test_convert.py::test_timms_weights_become_a_backbone_that_computes_the_same",
    "casl store ls": "tests/cli/test_store.py::test_ls_prints_a_line_for_each_stage",
    "casl store explain": "tests/cli/test_store.py::test_explain_says_where_a_stage_stands",
    "casl store verify": "tests/cli/test_store.py::test_verify_names_damage_and_moves_it_only_when_asked",
    "casl store gc": "tests/cli/test_store.py::test_gc_removes_only_with_yes",
    "casl store export": "tests/cli/test_store.py::test_results_move_to_another_store",
    "casl store import": "tests/cli/test_store.py::test_results_move_to_another_store",
    "casl data check": "tests/cli/test_cli.py::test_a_made_data_set_passes_the_check_and_can_be_planned_with",
    "casl data prepare": "tests/data/test_prepare.py::test_the_command_scans_composes_and_reports",
    "casl data import": "tests/cli/test_data_import.py::test_copies_are_files_of_their_own",
    "casl data split": "tests/cli/test_data_import.py::test_split_draws_again_and_protocol_makes_twenty_sets",
    "casl data scenes": "tests/cli/test_cli.py::test_a_made_data_set_passes_the_check_and_can_be_planned_with",
    "casl score": "tests/cli/test_cli.py::test_score_prints_json",
    "casl doctor": "tests/cli/test_doctor.py::test_a_sound_machine_is_told_so_and_nothing_is_made",
    "casl complete": "tests/cli/test_complete.py::test_other_shells_offer_the_same",
}
PRINTED = re.compile(r"`(casl [a-z][^`]*)`")


def problem(command: str) -> str:
    """What is wrong with a command of `make`; "" if nothing."""
    _, *words = shlex.split(command)
    targets = [w for w in words if "=" not in w]
    wrong = [t for t in targets if t not in TARGETS and not re.fullmatch(r"table\d+", t)]
    wrong += [w for w in words if "=" in w and w.partition("=")[0] not in VARIABLES]
    return ", ".join(wrong)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_parses(command: str) -> None:
    if command.startswith("make"):
        assert not problem(command), COMMANDS[command]
    else:
        parser().parse_args(shlex.split(command)[1:])


def test_a_target_or_variable_that_is_not_there_is_found() -> None:
    assert problem("make tabel4 PROFILE=smoke") == "tabel4" and problem("make table4 PROFIL=smoke") == "PROFIL=smoke"
    assert len(COMMANDS) > 80


def test_every_command_is_run_by_a_test_or_has_a_reason() -> None:
    known = {**RUN, **NOT_RUN}
    assert not [c for c in COMMANDS if not any(re.fullmatch(pattern, c) for pattern in known)]
    assert not [pattern for pattern in known if not any(re.fullmatch(pattern, c) for c in COMMANDS)], "no page has it"


def test_every_verb_is_run_by_a_test() -> None:
    root = parser()
    assert isinstance(root, Parser)
    assert {verb.prog for verb, _ in verbs_of(root)} == VERBS.keys()


def unknown_words(command: str, options: dict[str, set[str]]) -> list[str]:
    """The verb of a command in a sentence, or those of its options, that the parser does not have."""
    words = command.split()
    verb = next((v for v in options if f"{command} ".startswith(f"{v} ")), "")
    of_group = any(v.startswith(f"{' '.join(words[:2])} ") for v in options)
    if not verb:
        return [] if of_group and len(words) == 2 else [command]
    return [w for w in words if w.startswith("--") and w.partition("=")[0] not in options[verb]]


def test_commands_in_what_the_program_says_have_verbs_and_options_that_exist() -> None:
    root = parser()
    assert isinstance(root, Parser)
    options = {verb.prog: set(verb.options) for verb, _ in verbs_of(root)}
    found = {
        c
        for path in (ROOT / "casl").rglob("*.py")
        for text in texts(path)
        for c in PRINTED.findall(" ".join(text.split()))
    }
    assert len(found) > 20
    assert not {c: wrong for c in found if (wrong := unknown_words(c, options))}
    assert unknown_words("casl rnu x", options) and unknown_words("casl run --profil x", options) == ["--profil"]


@pytest.mark.parametrize("test", sorted({*RUN.values(), *VERBS.values()}))
def test_the_tests_that_run_commands_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
