"""The argument parser, and the exit code of each command."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from synth_ray import __version__
from synth_ray.errors import SynthRayError

log = logging.getLogger("synth_ray")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="synth-ray", description="Make synthetic datasets from seeds and a teacher model.")
    top.add_argument("--version", action="version", version=f"synth-ray {__version__}")
    top.add_argument("--verbose", action="store_true", help="log progress, not only warnings")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _init(commands)
    _check(commands)
    _with_job(commands, "plan", "print chunks, requests and estimated tokens; ask no model")
    _preview(commands)
    _tune(commands)
    run = _with_job(commands, "run", "make the dataset; run again to continue where it stopped")
    run.add_argument("--extend", action="store_true", help="ask the added requests of a plan that was made longer")
    run.add_argument("--retry-failed", action="store_true", help="ask again what failed by deadline or outage")
    run.add_argument("--quiet", action="store_true", help="no progress, only the result")
    _with_job(commands, "curate", "decide again about committed rows, by changed keys; ask no model")
    _of_prefix(commands, "status", "show what is published, committed and orphaned in an output, and which driver owns it")
    _show(commands)
    _view(commands)
    _gc(commands)
    _report(commands)
    _export(commands)
    return top


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1 on, got {number}")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**16:
        raise argparse.ArgumentTypeError(f"wanted a number up to 65,535, got {number}")
    return number


def _with_job(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("job", help="the job's YAML file")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key, as output.path=out/x")
    command.add_argument("--engine", choices=["ray", "local"], help="Ray actors, or threads of this process")
    command.add_argument("--address", help="join this Ray cluster instead of starting a local one")
    command.add_argument("--output", help="another output prefix than the job's")
    return command


def _init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "write a job that this machine can run, and a few seeds to start from"
    command = commands.add_parser("init", help=text, description=text)
    command.add_argument("folder", nargs="?", default=".", help="where to write them; nothing is overwritten")
    recipes = "distill (when left out), vary, fill, label, evolve, rewrite, prefer, converse, edge_cases, stand_in or build"
    command.add_argument("--recipe", metavar="NAME", help=f"the job's recipe: {recipes}")


def _check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _with_job(commands, "check", "report everything that is wrong with a job, before anything is spent")
    command.add_argument("--schema", action="store_true", help="print the JSON Schema of a job, for editors")
    for action in command._actions:
        if action.dest == "job":
            action.nargs = "?"


def _preview(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _with_job(commands, "preview", "show the first rendered prompts and a few answers; write nothing")
    command.add_argument("--rows", type=_count, default=5, help="answers to show (5)")
    command.add_argument("--prompts-only", action="store_true", help="render prompts without starting the teacher")
    command.add_argument("--raw", action="store_true", help="show text before it is scrubbed")


def _tune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _with_job(commands, "tune", "measure engine arguments on the job's own prompts and write a job with the best")
    command.add_argument("--requests", type=_count, default=1024, help="requests of the plan to measure with (1,024)")
    tried = "values of one engine argument to try, as max_num_seqs=128,256; a short list of the usual ones when left out"
    command.add_argument("--try", dest="tried", action="append", default=[], metavar="ARGUMENT=VALUE,VALUE", help=tried)
    command.add_argument("--write", metavar="FILE", help="where to write the job with the best (JOB.tuned.yaml)")


def _of_prefix(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("prefix", help="the dataset's output prefix, local or s3://")
    return command


def _show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "trace one row: its seed, asks, checks, verdict and witness; or list rows: a few of each kind, of a split, of a reason"
    command = _of_prefix(commands, "show", text)
    command.add_argument("id", nargs="?", help="the row's id, or as much of its beginning as no other row has")
    command.add_argument("--text", action="store_true", help="show its scrubbed text too")
    command.add_argument("--reason", help="list rows, and rejected seeds, that ended for this reason")
    command.add_argument("--split", help="list accepted rows of this split; with --reason, the rows that would have been in it")
    command.add_argument("-n", type=_count, metavar="ROWS", help="rows to list (10; without id, split and reason 2 of each kind)")


def _view(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "browse all rows of a dataset in a browser of this machine: filter, search, sort, compare duplicates"
    command = _of_prefix(commands, "view", text)
    command.add_argument("--port", type=_port, default=0, metavar="N", help="the port to serve at (a free one)")
    command.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")


def _gc(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _of_prefix(commands, "gc", "list what an output no longer needs, and what removing it loses")
    kinds = ["orphans", "parts", "asks", "batches", "chunks"]
    command.add_argument("--what", action="append", choices=kinds, help="only this kind; all but chunks when left out")
    command.add_argument("--older-than-hours", type=float, default=1.0, help="only what is at least this old (1)")
    command.add_argument("--delete", action="store_true", help="remove it")


def _report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _of_prefix(commands, "report", "print the funnel of a dataset and write its report.html again")
    command.add_argument("--json", action="store_true", help="print the manifest instead")


FORMATS = [
    "trl-sft", "trl-prompt-completion", "trl-dpo", "alpaca", "sharegpt", "openai-sft", "openai-dpo", "axolotl", "llama-factory",
    "jsonl", "webdataset",
]  # fmt: skip
"""The keys of `dataset.formats.FORMATS`, repeated here so that `--help` imports nothing heavy."""


def _export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "write a dataset in a trainer's own format"
    command = commands.add_parser("export", help=text, description=text)
    command.add_argument("prefix", help="the dataset's output prefix, local or s3://")
    command.add_argument("--format", required=True, choices=FORMATS, help="the trainer's format")
    command.add_argument("--to", help="where to write it (PREFIX/export/FORMAT)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 done, 1 failed, 2 wrong job or input, 3 quality gate failed, 4 stopped early."""
    arguments = parser().parse_args(argv)
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    command = importlib.import_module(f"synth_ray.cli.{arguments.command}")
    try:
        if "prefix" in arguments:
            require = importlib.import_module("synth_ray.cli.prefix").require_output
            require(arguments.prefix, published=arguments.command in ("report", "export", "view"))
        return int(command.main(arguments))
    except SynthRayError as error:
        print(f"synth-ray: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
