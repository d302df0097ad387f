"""The arguments of every command. Nothing heavy is imported here: `--help` answers at once."""

from __future__ import annotations

import argparse

from synth_ray import __version__
from synth_ray.cli.cluster_arguments import add_cluster_commands


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="synth-ray", description="Make synthetic datasets from seeds and a teacher model.")
    top.add_argument("--version", action="version", version=f"synth-ray {__version__}")
    top.add_argument("--verbose", action="store_true", help="log progress, not only warnings")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _init(commands)
    _check(commands)
    plan = _with_job(commands, "plan", "print chunks, requests, and an estimate of tokens, money and hours; ask no model")
    plan.add_argument("--like", metavar="PREFIX", help="estimate lengths and speed as an earlier run's output at PREFIX had them")
    _preview(commands)
    _tune(commands)
    run = _with_job(commands, "run", "make the dataset; run again to continue where it stopped")
    run.add_argument("--extend", action="store_true", help="ask the added requests of a plan that was made longer")
    run.add_argument("--retry-failed", action="store_true", help="ask again what failed by deadline or outage")
    part = "ask only this part of a job with plan.parts, from 0 on, and publish nothing; `run` without it admits all parts"
    run.add_argument("--part", type=_part, metavar="N", help=part)
    run.add_argument("--quiet", action="store_true", help="no progress, only the result")
    done = "exit with 0 where starting again would change nothing (codes 2, 3 and 4), for schedulers that repeat what failed"
    run.add_argument("--done-when-stopped", action="store_true", help=done)
    curate = _with_job(commands, "curate", "decide again about committed rows, by changed keys; ask no model")
    for command in (run, curate):
        _log_option(command)
        _junit(command)
    _of_prefix(commands, "status", "show what is published, committed and orphaned in an output, and which driver owns it")
    _show(commands)
    _view(commands)
    _gc(commands)
    _report(commands)
    _export(commands)
    _sample(commands)
    _eval(commands)
    add_cluster_commands(commands)
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1 on, got '{text}'")
    return int(text)


def _part(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"wanted the number of a part, from 0 on, got '{text}'")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"wanted a number from 0 on, got {text}")
    return number


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"wanted a share from 0 to 1, got {text}")
    return float(text)


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


def _log_option(command: argparse.ArgumentParser) -> None:
    text = "progress, log and result as text, or as one JSON object a line on standard error (SYNTH_RAY_LOG=json does the same "
    command.add_argument("--log", choices=["text", "json"], help=text + "where there is no terminal)")


def _init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "write a job that this machine can run, and a few seeds to start from"
    command = commands.add_parser("init", help=text, description=text)
    command.add_argument("folder", nargs="?", default=".", help="where to write them; nothing is overwritten")
    recipes = (
        "distill (if left out), vary, fill, label, evolve, rewrite, prefer, converse, edge_cases, stand_in, build, score, passes"
    )
    command.add_argument("--recipe", metavar="NAME", help=f"the job's recipe (distill when left out): {recipes}")


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
    command.add_argument("--requests", type=_count, default=1024, help="requests of the plan for each engine (1,024)")
    tried = (
        "values of one engine argument to try, as max_num_seqs=128,256, or of engines on a GPU, as engines_per_gpu=1,2; a short "
        "list of the usual ones when left out"
    )
    command.add_argument("--try", dest="tried", action="append", default=[], metavar="ARGUMENT=VALUE,VALUE", help=tried)
    command.add_argument("--write", metavar="FILE", help="where to write the job with the best (JOB.tuned.yaml)")


def _of_prefix(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("prefix", help="the dataset's output prefix: a folder, s3://, gs:// or az://")
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
    kinds = ["orphans", "parts", "snapshots", "asks", "batches", "chunks"]
    command.add_argument(
        "--what", action="append", choices=kinds, help="only this kind; all but snapshots, checkpoints and chunks when left out"
    )
    command.add_argument("--older-than-hours", type=float, default=1.0, help="only what is at least this old (1)")
    command.add_argument("--delete", action="store_true", help="remove it")


def _report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "print the funnel of a dataset and write its report.html again; check gates; push it to the Hugging Face Hub"
    command = _of_prefix(commands, "report", text)
    command.add_argument("--json", action="store_true", help="print the manifest instead")
    against = "compare with this dataset too, and write comparison.html"
    command.add_argument("--against", metavar="PREFIX", help=against)
    gates = "a YAML list of gates, or a job file with `gates:`: print each result, and exit with 3 if one fails"
    command.add_argument("--gate", metavar="FILE", help=gates)
    _junit(command)
    pushed = "send the dataset, in one commit, to hf://datasets/OWNER/NAME[@BRANCH]; not if a gate of --gate fails"
    command.add_argument("--push", metavar="ADDRESS", help=pushed)
    command.add_argument("--with-rejected", action="store_true", help="push the rejected rows too")


def _junit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--junit", metavar="FILE", help="write the gates' results as JUnit XML, for CI")


FORMATS = [
    "trl-sft", "trl-prompt-completion", "trl-dpo", "alpaca", "sharegpt", "openai-sft", "openai-dpo", "axolotl", "llama-factory",
    "ms-swift", "jsonl", "webdataset", "trl-grpo", "verl", "verifiers", "nemo-rl", "trl-distillation", "distillkit",
]  # fmt: skip
"""The keys of `dataset.formats.FORMATS` and of `dataset.distillation_formats.TABLE_FORMATS`, repeated here so that `--help`
imports nothing heavy.
"""


TABLE_FORMATS = ["iceberg", "delta", "lance"]
"""The formats of `job.sinks.Sink`, repeated for the same reason."""


def _export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "write a dataset in a trainer's own format, or register it in a table of a data lake"
    command = commands.add_parser("export", help=text, description=text)
    command.add_argument("prefix", help="the dataset's output prefix: a folder, s3://, gs:// or az://")
    formats = [*FORMATS, *TABLE_FORMATS]
    command.add_argument("--format", required=True, choices=formats, help="the trainer's format, or the table's")
    command.add_argument("--to", help="where to write it (PREFIX/export/FORMAT); of Iceberg, the table's name NAMESPACE.TABLE")
    catalog = "of Iceberg, the catalog, as type=rest uri=https://…; as the job key sinks.catalog"
    command.add_argument("--catalog", nargs="+", default=[], metavar="KEY=VALUE", help=catalog)
    command.add_argument("--partial", action="store_true", help="of a table, register a dataset that stopped short, too")
    command.add_argument(
        "--thoughts",
        choices=["field", "thinking", "inline", "drop"],
        help="where thoughts go: the field reasoning_content, the field thinking, inside the text, or nowhere (the format's own)",
    )
    student = "refuse the dataset where this model's tokenizer gives its token ids another meaning"
    command.add_argument("--student", default="", metavar="FOLDER", help=student)


REVIEW_FORMS = ["csv", "jsonl", "argilla"]
"""`review.forms.FORMATS`, repeated for the same reason."""


def _sample(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "draw rows for people to review, or tell what their verdicts say of the dataset"
    command = _of_prefix(commands, "sample", text)
    command.add_argument("-n", type=_count, default=200, metavar="ROWS", help="rows to draw (200)")
    command.add_argument("--by", metavar="COLUMN", help="draw of every value of this column; a label's when left out")
    command.add_argument("--rejected", action="store_true", help="draw of the rejected rows instead of the accepted ones")
    command.add_argument("--format", choices=REVIEW_FORMS, default="csv", help="the form to write (csv)")
    command.add_argument("--to", metavar="FILE", help="where to write it (OUTPUT-review.csv)")
    command.add_argument("--verdicts", nargs="+", metavar="FILE", help="filled-in forms, one or one per reviewer")
    command.add_argument("--gold", metavar="FILE", help="with --verdicts: write them as gold rows for check.judge.gold")


VERIFIERS = ["label", "exact", "schema", "code", "arithmetic", "judge"]
"""The verifiers of `evaluate.cases.VERIFIERS`, repeated here for the same reason."""


def _eval(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "score a system on evaluation cases, and compare it with an earlier result"
    command = commands.add_parser("eval", help=text, description=text)
    command.add_argument("cases", help="a dataset's output prefix, or a file, folder or glob of rows with prompts")
    _eval_cases(command)
    _eval_target(command)
    _eval_result(command)


def _eval_cases(command: argparse.ArgumentParser) -> None:
    splits = "only cases of this split; of a dataset, validation and test when left out"
    command.add_argument("--split", action="append", default=[], metavar="SPLIT", help=splits)
    fields = "where a field of the cases is in the file, as prompt=question; all fields that are needed, or none"
    command.add_argument("--field", action="append", default=[], metavar="NAME=COLUMN", help=fields)
    command.add_argument("--limit", type=_count, metavar="ROWS", help="read at most so many rows")
    command.add_argument("--by", action="append", default=[], metavar="FIELD", help="sum results up by this field too")
    command.add_argument("--verify", choices=VERIFIERS, help="the verifier of every case; each case's own when left out")


def _eval_target(command: argparse.ArgumentParser) -> None:
    where = "what answers: a base URL (https://host/v1), a function (package.module:function), or scripted[:TEMPLATE]"
    command.add_argument("--target", required=True, metavar="URL|MODULE:FUNCTION", help=where)
    command.add_argument("--model", default="", metavar="NAME", help="the model that the URL serves")
    command.add_argument("--key-env", default="", metavar="VARIABLE", help="environment variable with the URL's key")
    judge = "what scores answers that no verifier can decide; as --target"
    command.add_argument("--judge", default="", metavar="URL|MODULE:FUNCTION", help=judge)
    command.add_argument("--judge-model", default="", metavar="NAME", help="the model that the judge's URL serves")
    command.add_argument("--judge-key-env", default="", metavar="VARIABLE", help="environment variable with the judge's key")
    command.add_argument("--rubric", metavar="FILE", help="YAML file with criteria, template and min_score, as check.judge")
    command.add_argument("--system", default="", metavar="TEXT", help="system message of cases that have none")
    command.add_argument("--temperature", type=_number, default=0.0, help="of the target's answers (0)")
    command.add_argument("--max-tokens", type=_count, default=1024, help="most tokens of an answer (1,024)")
    command.add_argument("--in-flight", type=_count, default=16, metavar="CASES", help="most cases asked at once (16)")
    command.add_argument("--timeout", type=_number, default=120.0, metavar="SECONDS", help="until one try is given up (120)")


def _eval_result(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", default="out/eval", help="where results.jsonl, eval.json and junit.xml go (out/eval)")
    baseline = "an earlier results.jsonl, its folder, or a baseline file: exit 3 where the system certainly got worse"
    command.add_argument("--baseline", metavar="FILE", help=baseline)
    tolerance = "how far below the baseline's the pass rate may certainly be (0)"
    command.add_argument("--tolerance", type=_share, default=0.0, metavar="SHARE", help=tolerance)
    written = "write a baseline for a repository, unless a gate failed"
    command.add_argument("--write-baseline", metavar="FILE", help=written)
    command.add_argument("--min-pass-rate", type=_share, metavar="SHARE", help="exit 3 where fewer cases pass")
    command.add_argument("--fresh", action="store_true", help="ask every case again, also after an interruption")
    command.add_argument("--json", action="store_true", help="print the summary as JSON")
