"""The arguments of the commands that talk to a cluster. Nothing heavy is imported here either."""

from __future__ import annotations

import argparse


def add_cluster_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _submit(commands)
    _stop(commands)


def _address(command: argparse.ArgumentParser) -> None:
    text = "the Ray head's dashboard, as http://host:8265 (RAY_API_SERVER_ADDRESS, or RAY_ADDRESS where that is http)"
    command.add_argument("--address", metavar="URL", help=text)


def _submit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "send a job to a Ray cluster and follow it; submit again to go on where it stopped"
    command = commands.add_parser("submit", help=text, description=text)
    command.add_argument("job", nargs="?", help="the job's YAML file; left out with --attach")
    _address(command)
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key, as plan.requests=100")
    command.add_argument("--output", help="another output prefix than the job's")
    command.add_argument("--no-wait", action="store_true", help="end once the job is submitted, without following it")
    command.add_argument("--attach", metavar="ID", help="follow a job that was submitted before, from its beginning")
    _submit_run(command)
    _submit_sent(command)
    _submit_render(command)


def _submit_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--extend", action="store_true", help="as for run: ask the added requests of a longer plan")
    command.add_argument("--retry-failed", action="store_true", help="as for run: ask again what failed by deadline or outage")
    log = "how the driver writes progress, log and result: text, or one JSON object a line"
    command.add_argument("--log", choices=["text", "json"], help=log)
    command.add_argument("--python", default="python", metavar="PATH", help="the cluster's Python that has synth_ray (python)")
    cpus = "reserve so many CPUs for the driver, which then runs on any node that has them (none: on the head)"
    command.add_argument("--driver-cpus", type=_cpus, metavar="N", help=cpus)
    label = "run the driver on a node with this label, as market=on-demand"
    command.add_argument("--driver-label", action="append", default=[], metavar="KEY=VALUE", help=label)


def _submit_sent(command: argparse.ArgumentParser) -> None:
    env = "set a variable in every process of the job; never a secret, since everyone who sees the cluster can read it"
    command.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help=env)
    more = "send this file or folder of the working folder, too; what the job names is sent anyway"
    command.add_argument("--with", dest="with_files", action="append", default=[], metavar="PATH", help=more)
    package = "send this machine's synth_ray to a cluster that lacks it; what it needs must be there"
    command.add_argument("--with-package", action="store_true", help=package)
    shared = "the job's local output is on a file system that all nodes share"
    command.add_argument("--shared-output", action="store_true", help=shared)


def _submit_render(command: argparse.ArgumentParser) -> None:
    render = "print a RayJob for KubeRay, and the `ray job submit` line, instead of submitting"
    command.add_argument("--render", action="store_true", help=render)
    command.add_argument("--values", metavar="FILE", help="with --render: a YAML file with image, nodes and accounts")


def _stop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "stop a submitted job cleanly: it publishes a partial dataset, and submitting again goes on with it"
    command = commands.add_parser("stop", help=text, description=text)
    command.add_argument("id", help="the job's id, or the output prefix that it writes to")
    _address(command)
    command.add_argument("--no-wait", action="store_true", help="ask it to stop, and do not wait until it has")


def _cpus(text: str) -> float:
    number = float(text)
    if not 0 < number < 4096:
        raise argparse.ArgumentTypeError(f"wanted a number of CPUs above 0, got {text}")
    return number
