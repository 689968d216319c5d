"""The command line: ``python run_recbole_sr.py`` and ``recbole-sr``.

Each command imports what it needs itself: ``--help`` and a mistyped flag need not wait for torch.
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from recbole_sr import __version__
from recbole_sr.config.arguments import (
    DATA_SET,
    MODEL,
    PROGRAM,
    new_parser,
    parse,
    read_known,
    run_arguments,
)
from recbole_sr.config.shipped import properties_folder
from recbole_sr.distributed import launch
from recbole_sr.errors import InputError, LostProcessError, cut_run

__all__ = ["COMMANDS", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; without one, train a model.

    Args:
        arguments: without the program's name; None reads ``sys.argv``.

    Returns:
        The exit code: 0; 1 where runs of a study failed, or one of several processes was lost; 2
        where something given cannot work; 130 where it was interrupted; 141 where nobody reads what
        it prints.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    named = arguments[:1] and arguments[0] in COMMANDS
    name = arguments[0] if named else "training"
    command = COMMANDS[arguments.pop(0)] if named else _train
    if isinstance(sys.stdout, io.TextIOWrapper):  # LANG=C knows no names beyond ASCII
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.raiseExceptions = False  # a log that cannot be written is no reason for a traceback
    # RecBole's Config would read them again, and those of other commands for properties.
    sys.argv[1:] = []
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as during the import
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _check_surroundings(arguments)
        if launch.size() > 1:
            _check_several(name)
        code = command(arguments)
        if sys.stdout:  # None where the caller has closed it
            sys.stdout.flush()
        return code or 0
    except InputError as error:
        return _end(2, f"error: {error}")
    except LostProcessError as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending
        return _end(1, f"error: {error}; {_how_to_go_on(error, command) or 'start it again'}")
    except BrokenPipeError:  # as of `recbole-sr models | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python flushes at exit
        return 141
    except OSError as error:
        parts = (_described(error), _how_to_go_on(error, command))
        return _end(2, f"error: {'; '.join(filter(None, parts))}")
    except KeyboardInterrupt as error:
        print(file=sys.stderr)  # the line of a bar or of the log may not be at its end
        return _end(130, f"interrupted; {_how_to_go_on(error, command) or 'start it again'}")


def _end(code: int, sentence: str) -> int:
    """Say why the program ends; one of several processes ends here."""
    several = launch.size() > 1
    with suppress(OSError):
        if not several or _is_first_to_speak():
            print(f"{PROGRAM}: {sentence}", file=sys.stderr)
        if several and sys.stdout:
            sys.stdout.flush()
    if several:
        logging.shutdown()
        # Exit handlers would wait for a process that is lost, and the interpreter's end is fatal to
        # a thread of gloo that still lets go of a tensor.
        os._exit(code)
    return code


def _is_first_to_speak() -> bool:
    from recbole_sr.distributed.store import is_first_to_speak

    return is_first_to_speak()


def _check_several(name: str) -> None:
    """What only one process can do is refused, and what torchrun says to end is noted."""
    if name not in ("training", "resume"):
        launch.refuse_several(name)

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise LostProcessError("the processes were told to end, as by torchrun where one has ended")

    signal.signal(signal.SIGTERM, end)


def _check_surroundings(arguments: Sequence[str]) -> None:
    try:
        os.getcwd()
    except OSError:
        raise InputError(
            "the working folder: expected one that is there, got a removed one; cd to another"
        ) from None
    for text in arguments:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{text!r}: expected an argument in UTF-8, got other bytes; give another name"
            ) from None


def _described(error: OSError) -> str:
    advice = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EFBIG: "raise the limit on the size of files",
        errno.EEXIST: "expected a folder there; move the file away, or give another folder",
        errno.ENOTDIR: "expected a folder there; move the file away, or give another folder",
        errno.EISDIR: "expected a file there; move the folder away, or give another name",
        errno.ENAMETOOLONG: "give a shorter name",
    }.get(error.errno or 0, "check that it is there and may be read and written")
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}; {advice}"


def _how_to_go_on(error: BaseException, command: Callable[[list[str]], Any]) -> str:
    """What to type next, after training that has a saved state or a study that has runs."""
    if command in (_compare, _resume):
        return f"go on by the same command{' with --resume' if command is _compare else ''}"
    if (path := cut_run(error)) and os.path.isfile(file := f"{path}.run.pth"):
        return f"go on by: {PROGRAM} resume {shlex.quote(file)}"
    return ""


def _train(arguments: list[str]) -> None:
    parser = new_parser("Train a model of RecBole by its recipe, or by the properties given.")
    keys = (properties_folder() / "stable_rank.yaml").read_text(encoding="utf-8")
    parser.epilog = (
        f"Further commands, each with its own --help: {', '.join(COMMANDS)}.\n\n"
        "Every property of RecBole and of this package can be set as --key=value, above\n"
        "property files. The keys of this package, with their defaults:\n\n" + keys
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    _add_amounts(parser)
    given, of_the_run = run_arguments(parser, arguments, COMMANDS)
    _start_several(arguments, *of_the_run[2:])
    from recbole_sr.training.experiment import run_recbole_sr

    _show(given.amount, lambda: run_recbole_sr(*of_the_run))


def _start_several(arguments: list[str], files: list[str], properties: Any) -> None:
    """Let torchrun take the place of this process, where RecBole's keys ask for several."""
    from recbole_sr.config.files import read_properties

    said = read_properties(files, properties)
    keys = {key: said[key] for key in launch.KEYS if key in said}
    counts = [keys.get("nproc", 1), keys.get("world_size", 1)]
    if launch.launched() or not all(type(n) is int for n in counts) or max(counts) < 2:
        return  # what is no number is refused with all other keys
    script = [sys.argv[0]] if sys.argv[0].endswith("run_recbole_sr.py") else ["-m", "recbole_sr"]
    own = [text for text in arguments if text.partition("=")[0].lstrip("-") not in launch.KEYS]
    try:
        command = launch.torchrun({"nproc": 1, **keys}, [*script, *own])
    except ValueError as error:
        raise InputError(f"world_size and group_offset: expected {error}, got {keys}") from None
    os.execv(command[0], command)  # noqa: S606


def _prepare(arguments: list[str]) -> None:
    parser = new_parser("Write a data set to train on, from a file of events.", "prepare")
    add = parser.add_argument
    add("events", help="CSV or TSV with a header, or .gz, .bz2, .xz, .zip of one, or .parquet")
    add("--user", required=True, help="column of user ids")
    add("--item", required=True, help="column of item ids")
    add("--time", help="column of times: numbers (seconds) or ISO dates")
    add("--rating", help="column of ratings: numbers")
    add("--encoding", help="of a text file; else UTF-8")
    add("-o", "--output", metavar="FOLDER", required=True, help="of the data set, named after it")
    given = vars(parser.parse_args(arguments))
    given.pop("given", None)
    from recbole_sr.serve.events import prepare

    print(prepare(**given))


def _config(arguments: list[str]) -> None:
    parser = new_parser(
        "Show every key of a run, its value and who set it, without training.", "config"
    )
    given, of_the_run = run_arguments(parser, arguments, COMMANDS)
    from tabulate import tabulate

    from recbole_sr.config.config import Config
    from recbole_sr.config.recipe import idle_keys, table

    config = Config(*of_the_run)
    named = dict.fromkeys({"model", "dataset"} & given.given, "command line")
    rows = table(config.final_config_dict, {**config.origins, **named})
    print(tabulate(rows, ("key", "value", "from"), "github", disable_numparse=True))
    for sentence in idle_keys(config.options, config.origins, config.final_config_dict):
        print(sentence)


def _resume(arguments: list[str]) -> None:
    parser = new_parser(
        "Continue a run that was interrupted or killed, to the same result.", "resume"
    )
    parser.add_argument("run", help="the .run.pth file that the run left in its checkpoint_dir")
    _add_amounts(parser)
    given = parser.parse_args(arguments)
    from recbole_sr.training.experiment import resume

    _show(given.amount, lambda: resume(given.run))


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(amount="normal")
    add = parser.add_mutually_exclusive_group().add_argument
    for amount, what in (
        ("quiet", "show warnings, errors and the test result, which goes to standard output"),
        ("verbose", "show all that the log's file has, as RecBole does"),
    ):
        add(f"--{amount}", dest="amount", action="store_const", const=amount, help=what)


def _show(amount: Any, train: Callable[[], dict[str, Any]]) -> None:
    """Train, and show as much of it as ``--quiet`` or ``--verbose`` says."""
    from recbole_sr.training.console import describe_scores, screen

    with screen(amount):
        result = train()
    if amount == "quiet" and launch.rank() == 0:
        print(f"test result: {describe_scores(result['test_result'])}")


def _export(arguments: list[str]) -> None:
    parser = new_parser("Write a checkpoint that RecBole itself can load.", "export")
    parser.add_argument("checkpoint", help="a model's checkpoint of recbole-sr")
    parser.add_argument("-o", "--output", required=True, help="the file to write")
    given = parser.parse_args(arguments)
    from recbole_sr.runs.export import export

    export(given.checkpoint, given.output)


def _recommend(arguments: list[str]) -> None:
    parser = new_parser("Write the best items for each user, by a trained model.", "recommend")
    add = parser.add_argument
    add("checkpoint", help="a model's checkpoint of recbole-sr")
    given_users = parser.add_mutually_exclusive_group()
    given_users.add_argument("--user", nargs="+", metavar="ID", help="users; else all")
    given_users.add_argument("--users", metavar="FILE", help="a file of users, an id a line")
    add("-k", type=int, default=10, help="items for each user (10)")
    add("-o", "--output", type=Path, help=".csv, .tsv, .jsonl or .parquet; else CSV on the screen")
    add(
        "--known",
        default="all",
        help="what users are known to have: training, validation or all (all)",
    )
    add("--with_known", action="store_true", help="list what users are known to have, too")
    _add_data_path(parser)
    given = parser.parse_args(arguments)
    from recbole_sr.serve.recommend import are_lists, recommend
    from recbole_sr.serve.tables import check_table, read_lines, write_table
    from recbole_sr.training.console import warnings_alone

    if given.output:
        check_table(given.output, partial(are_lists, model_file=given.checkpoint))
        if given.users and os.path.realpath(given.output) == os.path.realpath(given.users):
            raise InputError(f"{given.output}: expected another file than --users; give one")
    users = given.user if given.users is None else read_lines(given.users)
    with warnings_alone():
        lists = recommend(
            given.checkpoint,
            users,
            given.k,
            known=given.known,
            with_known=given.with_known,
            data_path=given.data_path,
        )
    if given.output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # ids stay as they are, whatever the locale
            sys.stdout.reconfigure(encoding="utf-8", errors="strict")
        lists.to_csv(sys.stdout, index=False)
        return
    write_table(lists, given.output)
    print(f"{given.output}: {len(lists)} items for {lists.iloc[:, 0].nunique()} users")


def _add_data_path(parser: argparse.ArgumentParser) -> None:
    where = "of the data set's folder, where it is no longer that of training"
    parser.add_argument("--data_path", metavar="FOLDER", help=where)


def _embeddings(arguments: list[str]) -> None:
    parser = new_parser(
        "Write the vectors of users and items by which a trained model ranks, as .npy with the ids "
        "of their rows beside them, and all in one .safetensors.",
        "embeddings",
    )
    parser.add_argument("checkpoint", help="a model's checkpoint of recbole-sr")
    parser.add_argument(
        "-o", "--output", required=True, help="folder: new, empty or of former vectors"
    )
    _add_data_path(parser)
    given = parser.parse_args(arguments)
    from recbole_sr.serve.embeddings import check_folder, embeddings
    from recbole_sr.training.console import warnings_alone

    check_folder(given.output)  # before the work is done
    with warnings_alone():
        found = embeddings(given.checkpoint, data_path=given.data_path)
    for file in found.save(given.output):
        print(file)
    ranks = "ranks" if found.dot_products else "does not rank"
    print(f"The model {ranks} by the dot product of a user's and an item's vector.")


def _models(arguments: list[str]) -> None:
    parser = new_parser("List RecBole's models: what of each is regularised, which not.", "models")
    parser.parse_args(arguments)
    from recbole_sr.config.shipped import models_page

    print(models_page(), end="")


def _names(given: list[str] | None) -> list[str] | None:
    """Names with commas between, as RecBole's own script for several models has them, or apart."""
    return None if given is None else [name for text in given for name in text.split(",") if name]


def _compare_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "Train a baseline and variants of the method on the same splits and compare them. Any "
        "property can be set for all runs as --key=value.",
        "compare",
    )
    add = parser.add_argument
    add(
        "-m",
        "--model",
        nargs="+",
        help=f"RecBole's names, apart or with commas; else the files', else {MODEL}. Pop, "
        "ItemKNN, EASE and others that learn without gradients are run as they are",
    )
    add("-d", "--dataset", nargs="+", help=f"names of data sets; else the files', else {DATA_SET}")
    add("--seeds", type=int, default=5, help="runs of each; no claim is made below 5")
    add(
        "--variants",
        nargs="+",
        default=["default"],
        help="none, published, default, or YAML property files",
    )
    add("--baseline", default="stock", help="what they are compared with: stock, or as --variants")
    add("--config_files", default="", help='property files for all runs, as in "a.yaml b.yaml"')
    add("-o", "--output", default="comparison", help="the study's folder")
    add("--resume", action="store_true", help="continue the study in that folder")
    add("--tune", help="grid in YAML: tune every variant in it, equally")
    trials = "of --tune, for each model, data set and variant; %(default)s by default"
    add("--trials", type=int, default=10, help=trials)
    add("-j", "--jobs", type=int, default=1, help="runs at a time; above 1 compare epochs only")
    add("--ray", metavar="ADDRESS", help="of a Ray cluster, auto or local: a trial on each core")
    add("--quick", action="store_true", help="also Pop, ItemKNN and EASE, all within --minutes")
    minutes = "how long --quick may take; %(default)g by default"
    add("--minutes", type=float, default=10.0, help=minutes)
    return parser


def _compare(arguments: list[str]) -> int:
    given, properties = parse(_compare_parser(), arguments, COMMANDS)
    needed = {"minutes": ("quick", given.quick), "trials": ("tune", given.tune is not None)}
    for option, (other, is_given) in needed.items():
        if option in given.given and not is_given:
            raise InputError(
                f"--{option}: expected --{other} beside it, without which it has no effect, got "
                f"none; add --{other} or drop it"
            )
    from recbole_sr.config.files import read_properties

    named = [*given.config_files.split(), *given.variants, given.baseline]
    read_known([name for name in named if name.endswith((".yaml", ".yml"))])
    from recbole_sr.study.compare import compare
    from recbole_sr.study.text import to_text

    comparison = compare(
        _names(given.model),
        _names(given.dataset),
        seeds=given.seeds,
        variants=given.variants,
        baseline=given.baseline,
        config_file_list=given.config_files.split(),
        config_dict=read_properties(texts=properties),
        output=given.output,
        resume=given.resume,
        tune_file=given.tune,
        tune_trials=given.trials,
        jobs=given.jobs,
        ray=given.ray,
        minutes=given.minutes if given.quick else None,
    )
    print(to_text(comparison))
    folder = Path(given.output)
    print(f"\nAll numbers: {folder / 'comparison.md'}\nReport: {folder / 'report.html'}")
    return _end_of(comparison)


def _end_of(comparison: Mapping[str, Any]) -> int:
    """The exit code: 1 where a run failed, or none ended."""
    from recbole_sr.study.trial import run_name

    ended = sum(row["runs"] for row in comparison["rows"])
    if not (failed := comparison["failed"]):
        return 0 if ended else _end(1, "error: no run ended in time; raise --minutes")
    first = failed[0]
    runs = ended + len(failed)
    return _end(
        1,
        f"error: {len(failed)} of {runs} runs failed, the first ({run_name(first)}) by: "
        f"{first['error']}; mend that and go on by --resume",
    )


def _report(arguments: list[str]) -> None:
    parser = new_parser("Write one self-contained page about runs and studies.", "report")
    parser.add_argument("run", nargs="+", help="folder of a run, saved/<run>, or of a study")
    parser.add_argument("-o", "--output", default="report.html", help="the page")
    parser.add_argument("--figures", help="also write PNG and SVG figures into this folder")
    given = parser.parse_args(arguments)
    from recbole_sr.study.report.page import report

    runs = report(given.run, given.output)
    print(f"Report: {given.output}")
    if given.figures:
        from recbole_sr.study.report.drawing import write_figures

        for file in write_figures(runs, given.figures):
            print(f"Figure: {file}")


def _spectrum(arguments: list[str]) -> None:
    parser = new_parser(
        "Spectrum of each two-dimensional table of a RecBole checkpoint. Nothing in the file is "
        "run: only tensors are read.",
        "spectrum",
    )
    parser.add_argument("checkpoint", help="file that RecBole or this package saved")
    parser.add_argument("--json", action="store_true", help="all singular values, as JSON")
    given = parser.parse_args(arguments)
    from tabulate import tabulate

    from recbole_sr.runs.folder import to_json
    from recbole_sr.runs.spectrum import spectra
    from recbole_sr.runs.tensors import read_tensors

    found = spectra(read_tensors(given.checkpoint))
    if given.json:
        print(to_json([asdict(one) for one in found], indent=1))
        return
    head = ("table", "shape", "stable", "effective", "condition", "largest five")
    rows = [
        (
            one.name,
            f"{one.shape[0]} x {one.shape[1]}",
            f"{one.stable_rank:.3f}",
            f"{one.effective_rank:.3f}",
            f"{one.condition_number:.4g}" if one.condition_number else "singular",
            " ".join(f"{value:.4g}" for value in one.singular_values[:5]),
        )
        for one in found
    ]
    print(tabulate(rows, head, "plain", disable_numparse=True))


COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "prepare": _prepare,
    "config": _config,
    "recommend": _recommend,
    "embeddings": _embeddings,
    "export": _export,
    "models": _models,
    "resume": _resume,
    "compare": _compare,
    "report": _report,
    "spectrum": _spectrum,
}
