#!/usr/bin/env python3
"""Play one case in the lab and keep what was recorded: run.py CASE -o DIRECTORY [options]. Needs root and Linux.

Writes server.pcap and client.pcap (or others, as the case says), machines/, keys.log when the case has one, recipe (this command) and
truth.json (what really happened: output of the container, output that the client got, what went wrong meanwhile).
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from certificates import write_storage
from docker_daemon import IMAGE, PLAIN_PORT, PORT, Daemon, daemon
from firewall import Firewall
from incidents import Stage
from network import INTERFACE, SERVER_IP, Network, network
from processes import LabError, started
from recording import PLACES, recording, rotating
from runner_client import BROKEN, GAVE_UP
from scenarios import SCENARIOS, Scenario
from tls_front import tls_front

MACHINE = "runner-1"


def main() -> int:
    arguments = _arguments()
    scenario = _scenario(arguments)
    if os.geteuid() != 0:
        print("the lab needs root: it makes network namespaces and runs a dockerd in one", file=sys.stderr)
        return 5
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _leave)
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="captool-lab-") as directory:
            truth = play(scenario, Path(directory), arguments.output, everything=arguments.everything, live=arguments.live)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    (arguments.output / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    (arguments.output / "recipe").write_text(_recipe(arguments.case, scenario))
    return 0


def play(scenario: Scenario, directory: Path, output: Path, *, everything: bool, live: bool) -> dict[str, object]:
    """Set the stage, record, run the job, wait for it and its aftermath. Everything that was set up is taken down again."""
    machine = write_storage(directory / "storage", MACHINE, SERVER_IP, datetime.datetime.now(datetime.UTC))
    firewall = Firewall(scenario.established_timeout_s, scenario.half_closed_timeout_s, scenario.resets, scenario.lossy, scenario.mtu_to_client)
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(network(firewall, client_buffer=scenario.client_buffer))
        tls_from = None if scenario.suite or scenario.plain else machine
        docker = stack.enter_context(daemon(directory, names.server, tls_from, plain=scenario.plain))
        front = None
        if scenario.suite:
            options = (machine, docker.socket, scenario.suite, scenario.front_keepalive_s)
            front = stack.enter_context(tls_front(directory, names.server, *options))
        with contextlib.ExitStack() as recorders:
            _start_recorders(scenario, directory, names, machine, recorders, live=live)
            command = _client(scenario, directory, docker, machine)
            received = directory / "received"
            options = {"namespace": names.client, "stdout": received.open("wb")}
            client = stack.enter_context(started(command, log=directory / "client.log", **options))
            stage = Stage(names, client, front, recorders, sorted(scenario.incidents))
            truth = _wait_in_vain(scenario, docker) if scenario.no_job else _wait_for_job(scenario, directory, docker, stage)
            recorders.close()  # before the client gives up, which would add packets of its own
            truth["client"] = _received(scenario, received)
            truth["incidents"] = stage.happened
    for trace in sorted(directory.glob("*.pcap")):
        shutil.copyfile(trace, output / trace.name)
        if everything:
            shutil.copyfile(directory / f"{trace.name}.json", output / f"{trace.name}.json")
            shutil.copytree(directory / f"{trace.name}.keys", output / f"{trace.name}.keys", dirs_exist_ok=True)
    for verdicts in directory.glob("*.verdicts"):
        shutil.copyfile(verdicts, output / verdicts.name)
    for trace in sorted(directory.glob("rotated/*.pcap")):
        shutil.copyfile(trace, output / trace.name)
    if scenario.key_log:
        shutil.copyfile(directory / "keys.log", output / "keys.log")
    if scenario.session_keys:
        shutil.copyfile(directory / f"{scenario.sides[0]}.pcap.keys" / "session-keys.log", output / "keys.log")
    shutil.copytree(machine.parent, output / "machines", dirs_exist_ok=True)
    return truth


def _start_recorders(
    scenario: Scenario, directory: Path, names: Network, machine: Path, recorders: contextlib.ExitStack, *, live: bool
) -> None:
    for side in scenario.sides:
        role, interface = PLACES[side]
        trace, log = directory / f"{side}.pcap", directory / f"{side}.log"
        verdicts = (directory / f"{side}.verdicts", scenario.established_timeout_s) if live else None
        options = (getattr(names, role), interface, machine.parent, log, scenario.session_keys, verdicts)
        recorders.enter_context(recording(trace, *options))
    if scenario.rotate_s:
        recorders.enter_context(rotating(directory / "rotated", names.server, INTERFACE, scenario.rotate_s, directory / "rotated.log"))


def _client(scenario: Scenario, directory: Path, docker: Daemon, machine: Path) -> list[str]:
    if scenario.many_requests:
        words = [sys.executable, str(Path(__file__).with_name("many_requests.py")), "--host", SERVER_IP, "--image", IMAGE]
        words += ["--job", scenario.job, "--port", str(PLAIN_PORT if scenario.plain else PORT)]
        return words if scenario.plain else [*words, "--machine", str(machine), "--key-log", str(directory / "keys.log")]
    return _runner(scenario, directory, machine) if scenario.suite else _docker_client(scenario, directory, docker, machine)


def _runner(scenario: Scenario, directory: Path, machine: Path) -> list[str]:
    words = [sys.executable, str(Path(__file__).with_name("runner_client.py")), "--host", SERVER_IP, "--machine", str(machine)]
    words += ["--image", IMAGE, "--job", scenario.job, "--suite", f"{scenario.suite}:@SECLEVEL=1", "--poll", str(scenario.poll_s)]
    if scenario.keepalive_s:
        words += ["--keepalive", *map(str, scenario.keepalive_s)]
    if scenario.key_log:
        words += ["--key-log", str(directory / "keys.log")]
    if scenario.read_timeout_s:
        words += ["--read-timeout", str(scenario.read_timeout_s)]
    return words


def _docker_client(scenario: Scenario, directory: Path, docker: Daemon, machine: Path) -> list[str]:
    """The docker program itself, unmodified. Without TLS its standard input is attached, and ends at once: a half-close."""
    (directory / "docker-config").mkdir()
    words = [docker.docker, "--config", str(directory / "docker-config")]
    run_container = ["--network", "none", IMAGE, "sh", "-c", scenario.job]
    if scenario.plain:
        return [*words, "--host", f"tcp://{SERVER_IP}:{PLAIN_PORT}", "run", "--interactive", *run_container]
    words += ["--host", f"tcp://{SERVER_IP}:{PORT}", "--tlsverify", "--tlscacert", str(machine / "ca.pem")]
    return [*words, "--tlscert", str(machine / "cert.pem"), "--tlskey", str(machine / "key.pem"), "run", *run_container]


def _wait_for_job(scenario: Scenario, directory: Path, docker: Daemon, stage: Stage) -> dict[str, object]:
    """Ask dockerd itself, through its unix socket, when the container has ended and what it printed."""
    while not (container := docker.docker_run("ps", "--all", "--quiet", "--no-trunc").strip()):
        if stage.client.poll() is not None:
            raise LabError(f"the client ended early: {(directory / 'client.log').read_text(errors='replace')}")
        time.sleep(0.1)
    began = None
    while (state := docker.docker_run("inspect", "--format", "{{.State.Status}}", container).strip()) in {"created", "running"}:
        if began is None and state == "running":
            began = time.monotonic()
        if began is not None:
            stage.play_due(began)
        if stage.client.poll() not in {None, 0, GAVE_UP, BROKEN}:
            raise LabError(f"the client ended early: {(directory / 'client.log').read_text(errors='replace')}")
        time.sleep(0.25)
    exit_code = int(docker.docker_run("inspect", "--format", "{{.State.ExitCode}}", container))
    time.sleep(scenario.settle_s)
    logs = subprocess.run(
        [docker.docker, "--host", f"unix://{docker.socket}", "logs", container], check=True, capture_output=True, text=True
    )
    return {"container": container, "exit_code": exit_code, "printed": {"stdout": logs.stdout, "stderr": logs.stderr}}


def _wait_in_vain(scenario: Scenario, docker: Daemon) -> dict[str, object]:
    """Record for a while, also after the client gave up; dockerd confirms that it was asked for no container."""
    time.sleep(scenario.settle_s)
    if containers := docker.docker_run("ps", "--all", "--quiet").split():
        raise LabError(f"the client got through: {len(containers)} containers")
    return {"container": None}


def _received(scenario: Scenario, path: Path) -> dict[str, object]:
    if scenario.suite is None:
        return {"stdout": path.read_text()}
    events = [json.loads(line) for line in path.read_text().splitlines()]
    output = {
        kind: "".join(event["text"] for event in events if event["event"] == "output" and event["stream"] == kind)
        for kind in ("stdout", "stderr")
    }
    last = events[-1]["event"] if events else None
    return {**output, "last_event": last, "ended": last == "ended"}


def _scenario(arguments: argparse.Namespace) -> Scenario:
    """The case, with what the command line changes."""
    changes = {
        name: value
        for name in ("job", "suite", "established_timeout_s", "poll_s", "settle_s", "session_keys")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.keepalive_s is not None:
        changes["keepalive_s"] = tuple(arguments.keepalive_s) if arguments.keepalive_s[0] else None
    return dataclasses.replace(SCENARIOS[arguments.case], **changes)


def _recipe(case: str, scenario: Scenario) -> str:
    """The command that plays this run again, and all of its settings."""
    changes = []
    for field in dataclasses.fields(Scenario):
        if (value := getattr(scenario, field.name)) != getattr(SCENARIOS[case], field.name):
            changes += [f"--{field.name.removesuffix('_s').replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    settings = "".join(f"# {field.name}: {getattr(scenario, field.name)!r}\n" for field in dataclasses.fields(Scenario))
    return f"python scripts/lab/run.py {shlex.join([case, *changes])} -o fixtures/{case}\n{settings}"


def _leave(number: int, _frame: object) -> None:
    """End through the ordinary way out, so that everything is taken down; a second signal does not interrupt that."""
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    print("lab: stopping, and cleaning up", file=sys.stderr)
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=SCENARIOS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--job", help="script for sh -c in the container")
    parser.add_argument("--suite", help="cipher suite of the TLS front, by its OpenSSL name")
    parser.add_argument("--established-timeout", dest="established_timeout_s", type=int, help="seconds after which the firewall forgets")
    parser.add_argument(
        "--keepalive", dest="keepalive_s", type=int, nargs=2, metavar=("IDLE", "INTERVAL"), help="of the client, seconds; 0 0 is off"
    )
    parser.add_argument("--poll", dest="poll_s", type=float, help="seconds between the client's questions after the container; 0 is never")
    parser.add_argument("--session-keys", help="what the recorder takes session keys of: a program or auto")
    parser.add_argument("--settle", dest="settle_s", type=float, help="seconds to record after the container's end")
    parser.add_argument("--live", action="store_true", help="let captool record --analyze meanwhile; its output is kept as SIDE.verdicts")
    parser.add_argument("--everything", action="store_true", help="keep what captool record wrote beside the traces as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
