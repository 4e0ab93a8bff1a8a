"""`python -m localcloud up | down | status | env | mail | logs`.

From any folder: `<python> <project>/localcloud <command>`.
"""

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if not __package__:  # started by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from localcloud import faults, mailbox, process
from localcloud.sagemaker.errors import few_lines, one_line
from localcloud.settings import DEFAULT_PORT, PROJECT, Settings, environment, variables

CALLED = "LOCALCLOUD_CALLED"  # by what name, where a program has called this one
DEFAULT_STATE = PROJECT / ".local"
_PROGRAM = f"{shlex.quote(sys.executable)} {shlex.quote(str(PROJECT / 'localcloud'))}"
_POLL_SECONDS = 0.5
_SAYS = {
    "raise": "the program raises an exception",
    "kill": "the program is killed",
    "hang": "the program never ends by itself",
    "overrun": "the program is still at work when its time limit has come (nobody waits)",
    "no-capacity": "SageMaker finds no machine for it (CapacityError)",
    "interrupt": "its spot instance is taken away while it trains, and it begins anew",
    "lose-output": "what it made is not there when it has ended",
    "lose-metrics": "a training job reports no metrics of the validation set",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when it did what was asked (status: when the local cloud is up)."""
    arguments = command_line()[0].parse_args(argv)
    arguments.state = arguments.state.resolve()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
    except (process.ProcessError, faults.FaultError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output, `head` for example, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def command_line() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """Return what reads the command line, and the part of it that reads each command."""
    parser = argparse.ArgumentParser(
        prog=os.environ.pop(CALLED, "python -m localcloud"), description="AWS on this machine, in one process."
    )
    _add_place(parser, DEFAULT_STATE, None)
    common = argparse.ArgumentParser(add_help=False)
    _add_place(common, argparse.SUPPRESS, argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="print the result as JSON; events of logs are a line each")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[common], help=text, description=text)
        added.set_defaults(command=function)
        return added

    up = add("up", _up, "start the local cloud in the background, if it is not up")
    up.add_argument("--region", default="us-east-1", help="default region (default: %(default)s)")
    up.add_argument(
        "--account", type=_account, default=Settings.account_id, help="number of the account (default: %(default)s)"
    )
    up.add_argument("--foreground", action="store_true", help="stay in this terminal; Ctrl-C stops it")
    add("down", _down, "stop it; what it holds stays in the state folder")
    add("status", _status, "say whether it is up (exit code 0) or down (1), and what it runs")
    env = add("env", _env, 'run a command against it, or print what to set: eval "$(python -m localcloud env)"')
    env.add_argument(
        "--role", metavar="NAME", help="be a session of this role, as a notebook is, and not the account's root"
    )
    env.add_argument(
        "--guest",
        metavar="ACCOUNT",
        help="be of this other account: it has buckets, keys and rules, and may what policies of others let it",
    )
    env.add_argument("run", nargs="*", metavar="-- command", help="the command to run, after --")
    mail = add("mail", _mail, "list the mails that topics have sent, or show one")
    mail.add_argument("number", nargs="?", type=_of_mail, help="show this mail")
    mail.add_argument(
        "--latest", action="store_true", help="show the newest mail; of a run's, what alarms said after it too"
    )
    logs = add("logs", _logs, "list the log groups, or show one")
    logs.add_argument("group", nargs="?", help="log group, or the end of its name")
    logs.add_argument("--follow", action="store_true", help="go on as lines arrive; Ctrl-C ends it")
    logs.add_argument("--server", action="store_true", help="the log of the local cloud itself")
    _add_faults(add("faults", _faults, "make something fail on purpose, list what will, or clear (docs/faults.md)"))
    return parser, commands.choices


def _add_faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("add", "list", "clear"), help="what to do with faults")
    parser.add_argument(
        "target",
        nargs="?",
        help="add: sagemaker:<Operation>, task:<service>:<action>, function:<name>, event:<part of the target's name>, "
        "job:<part of the name>, endpoint; clear: the number of a fault, or nothing for all",
    )
    effects = parser.add_mutually_exclusive_group()
    effects.add_argument("--error", metavar="NAME", help="fail so: an API's, a function's, a task's, an event's")
    effects.add_argument("--exit-code", type=int, metavar="N", help="job: the program ends with this code")
    effects.add_argument("--answer", metavar="TEXT", help="job: each record of a transform is answered so")
    effects.add_argument("--delay", type=float, metavar="SECONDS", help="take so much longer, and then work")
    for flag in ("raise", "kill", "hang", "overrun", "no-capacity", "interrupt", "lose-output", "lose-metrics"):
        effects.add_argument(f"--{flag}", dest="effect", action="store_const", const=flag, help=f"job: {_SAYS[flag]}")
    for flag, what in {"timeout": "function", "throttle": "function or event"}.items():
        effects.add_argument(f"--{flag}", dest="effect", action="store_const", const=flag, help=what)
    for flag in ("creation-fails", "update-rolls-back", "new-model-fails", "answers-wrongly"):
        effects.add_argument(f"--{flag}", dest="effect", action="store_const", const=flag, help="endpoint")
    parser.add_argument("--message", default="", help="the error's text, or what the job says about itself")
    parser.add_argument("--after", action="store_true", help="function, sagemaker: it works, and the answer is lost")
    parser.add_argument("--name", default="*", metavar="GLOB", help="only what has this name (default: any)")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="let the first N pass (default: none)")
    parser.add_argument("--times", default="1", metavar="N", help="how often, or 'always' (default: 1)")


def _add_place(parser: argparse.ArgumentParser, state: Any, port: Any) -> None:
    """--state and --port, before or after the command."""
    parser.add_argument("--state", type=Path, default=state, help="state folder (default: .local of the project)")
    parser.add_argument(
        "--port", type=_port, default=port, help=f"port on 127.0.0.1 (default: the running one's, else {DEFAULT_PORT})"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected a number from 1 to 65535")
    return int(text)


def _of_mail(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of a mail; expected one that the list shows, or --latest"
        )
    return int(text)


def _account(text: str) -> str:
    if not re.fullmatch(r"[0-9]{12}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of an account; expected twelve digits")
    return text


def _show_progress(text: str) -> None:
    """Dots for a person; nothing in a log."""
    if text != "." or sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def _up(arguments: argparse.Namespace) -> int:
    settings = replace(_settings(arguments), region=arguments.region, account_id=arguments.account)
    if arguments.foreground:
        return _serve(settings)
    started = process.start(settings, _show_progress)
    if started and sys.stderr.isatty():
        print(file=sys.stderr)
    if arguments.json:
        return _print_json({"started": started, "endpoint": settings.endpoint_url, "state": settings.state})
    print(
        f"The local cloud {'is' if started else 'was already'} up at {settings.endpoint_url} (state: {settings.state})"
    )
    print("To use it from this shell, which sets its address, its keys and its region:")
    place = "" if arguments.state == DEFAULT_STATE else f"--state {shlex.quote(str(arguments.state))} "
    print(f'  eval "$({_PROGRAM} {place}env)"')
    if page := (process.status(settings) or {}).get("console"):
        print(f"To look at it in a browser: {page}")
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    """Return the address and state folder of the local cloud, whether it runs or not."""
    running = process.describe(arguments.state) or {}
    port = int(arguments.port or running.get("port", DEFAULT_PORT))
    return Settings(port, arguments.state, running.get("region", Settings.region))


def _running(arguments: argparse.Namespace) -> Settings:
    running = process.describe(arguments.state)
    if not running:
        raise process.ProcessError(f"No local cloud runs from {arguments.state}. Start it: make up, or {_PROGRAM} up")
    if arguments.port not in (None, running["port"]):
        raise process.ProcessError(
            f"The local cloud of {arguments.state} runs on port {running['port']}, not {arguments.port}. Without a "
            "port it is found by itself."
        )
    return Settings(running["port"], arguments.state, running["region"])


def _serve(settings: Settings) -> int:
    from localcloud.engine.seams import SeamError
    from localcloud.engine.server import run

    with process.hold(settings):
        process.require_free_port(settings)
        try:
            run(settings)
        except SeamError as error:
            raise process.ProcessError(str(error)) from error
    return 0


def _down(arguments: argparse.Namespace) -> int:
    stopped = process.stop(arguments.state, _show_progress)
    if stopped and sys.stderr.isatty():
        print(file=sys.stderr)
    if arguments.json:
        return _print_json({"stopped": stopped, "state": arguments.state})
    print("The local cloud is stopped." if stopped else f"No local cloud runs from {arguments.state}.")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    running = process.describe(arguments.state)
    if not running and arguments.json:
        return _print_json({"status": "down", "state": arguments.state}, code=1)
    if not running:
        print(f"down (state: {arguments.state})")
        return 1
    settings = Settings(running["port"], arguments.state, running["region"])
    answer = process.status(settings)
    if arguments.json and answer and "ready" in answer:
        mails = len(mailbox.messages(arguments.state))
        status = "up" if answer["ready"] else "starting"
        return _print_json({"status": status, "endpoint": settings.endpoint_url, **answer, "mails": mails})
    if arguments.json:
        return _print_json({"status": "silent", "state": arguments.state, "pid": running["pid"]}, code=1)
    if not answer or "ready" not in answer:
        print(f"process {running['pid']} runs but does not answer on port {running['port']}; see logs --server")
        return 1
    age = datetime.now(UTC) - datetime.fromisoformat(answer["started"])
    rows = {
        "status": "up" if answer["ready"] else "starting",
        "endpoint": settings.endpoint_url,
        "process": f"{answer['pid']}, for {str(age).split('.')[0]}",
        "state": answer["state"],
        "engine": f"{answer['engine']}, {len(answer['services'])} services",
        "endpoints": ", ".join(answer.get("endpoints", [])) or "none in service",
        "jobs": ", ".join(answer.get("jobs", [])) or "none running",
        "mails": str(len(mailbox.messages(arguments.state))),
    }
    if answer.get("console"):
        rows["console"] = answer["console"]
    if answer["problem"]:
        rows["problem"] = answer["problem"]
    for name, value in rows.items():
        print(f"{name:<10} {value}")
    return 0


def _env(arguments: argparse.Namespace) -> int:
    needs_it = arguments.run or arguments.role or arguments.guest
    wanted = environment(_running(arguments) if needs_it else _settings(arguments))
    if arguments.guest:
        wanted |= _guest_of(arguments.guest, arguments.role, wanted)
    elif arguments.role:
        wanted |= _session_of(arguments.role, wanted)
    if arguments.run:
        return _replace_by(arguments.run, wanted)
    if arguments.json:
        return _print_json(wanted)
    for name in sorted(set(os.environ) - set(wanted)):
        print(f"unset {name}")
    for name, value in wanted.items():
        if os.environ.get(name) != value or name.startswith("AWS_"):
            print(f"export {name}={shlex.quote(value)}")
    return 0


def _session_of(role_name: str, account: dict[str, str]) -> dict[str, str]:
    """Return the keys of a role's session, for as long as the role allows.

    The account's root may assume each of its roles.
    """
    os.environ.update(account)
    import boto3
    from botocore.exceptions import ClientError

    try:
        role = boto3.client("iam").get_role(RoleName=role_name)["Role"]
        session = boto3.client("sts").assume_role(
            RoleArn=role["Arn"], RoleSessionName="localcloud", DurationSeconds=role["MaxSessionDuration"]
        )["Credentials"]
    except ClientError as error:
        raise process.ProcessError(
            f"The role {role_name} cannot be assumed: {error.response['Error']['Message']}"
        ) from error
    return _as_variables(session)


def _guest_of(account: str, role: str | None, own: dict[str, str]) -> dict[str, str]:
    """Return the keys of a session of another account's role, which may do everything there."""
    from urllib.error import HTTPError

    from localcloud import access

    wanted = {"Account": account} | ({"Role": role} if role else {})
    try:
        session = access.call(own, "POST", "/_localcloud/guests", json.dumps(wanted).encode())
    except HTTPError as error:
        raise process.ProcessError(json.load(error)["message"]) from error
    return _as_variables(session)


def _as_variables(session: Mapping[str, str]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": session["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }


def _replace_by(command: list[str], variables: dict[str, str]) -> int:
    """Become the command, as env(1) does; 127 when there is no such command."""
    try:
        os.execvpe(command[0], command, variables)  # noqa: S606 - running what was asked is the purpose
    except OSError as error:
        print(f"error: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


def _mail(arguments: argparse.Namespace) -> int:
    mails = mailbox.messages(arguments.state)
    is_list = arguments.number is None and not arguments.latest
    if is_list and arguments.json:
        return _print_json([mailbox.as_json(mail) for mail in mails])
    if is_list:
        for mail in mails:
            line = f"{mail.received.astimezone():%Y-%m-%d %H:%M:%S}  {mail.recipient}  {mail.subject}"
            print(f"{mail.number:>4}  {one_line(line)}")
        print(f"{len(mails)} mails in {arguments.state / 'mail'}", file=sys.stderr)
        return 0
    listed = mailbox.latest(mails) if arguments.latest else [mail for mail in mails if mail.number == arguments.number]
    if not listed:
        have = f"there are mails 1 to {len(mails)}" if mails else "there is no mail yet"
        which = "" if arguments.latest else f" {arguments.number}"
        raise process.ProcessError(f"No mail{which}: {have} in {arguments.state / 'mail'}.")
    if arguments.json:
        return _print_json([{**mailbox.as_json(mail), "body": mail.body} for mail in listed])
    for mail in listed:
        received = f"{mail.received.astimezone():%Y-%m-%d %H:%M:%S}"
        print(
            f"To:      {one_line(mail.recipient)}\nDate:    {received}\nSubject: {one_line(mail.subject)}\n"
            f"File:    {mail.path}\n\n{_printable(mail.body)}"
        )
    return 0


def _print_json(document: Any, code: int = 0) -> int:
    """Print a result for machines, and return the exit code."""
    print(json.dumps(document, indent=2, default=str, ensure_ascii=False))
    return code


def _logs(arguments: argparse.Namespace) -> int:
    if arguments.server and arguments.json:
        raise process.ProcessError("The log of the local cloud itself is text: leave --json out.")
    if arguments.server:
        return _server_log(arguments.state / "server.log", arguments.follow)
    os.environ.update(variables(_running(arguments)))
    import boto3

    client = boto3.client("logs")
    pages = client.get_paginator("describe_log_groups").paginate()
    groups = sorted(group["logGroupName"] for page in pages for group in page["logGroups"])
    if not arguments.group and arguments.json:
        return _print_json(groups)
    if not arguments.group:
        print(_printable("\n".join(groups)) if groups else "no log groups yet")
        return 0
    matching = [group for group in groups if group == arguments.group or group.endswith(f"/{arguments.group}")]
    if len(matching) != 1:
        known = "\n".join(f"  {group}" for group in groups) or "  none"
        raise process.ProcessError(f"{len(matching)} log groups are named {arguments.group!r}. There are:\n{known}")
    return _log_group(client, matching[0], arguments.follow, arguments.json)


def _log_group(client: Any, group: str, follow: bool, as_json: bool) -> int:
    """Print a group's events in their order; with `follow`, also the new ones."""
    printed: Counter[str] = Counter()  # by stream: streams only grow, and events have no id here
    while True:
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=group)
        streams: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for page in pages:
            for event in page["events"]:
                streams[event["logStreamName"]].append(event)
        new = [event for stream, events in streams.items() for event in events[printed[stream] :]]
        printed = Counter({stream: len(events) for stream, events in streams.items()})
        for event in sorted(new, key=lambda event: int(event["timestamp"])):
            moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).astimezone()
            if as_json:
                line = {"time": moment.isoformat(), "stream": event["logStreamName"], "message": event["message"]}
                print(json.dumps(line, ensure_ascii=False), flush=True)
                continue
            print(f"{moment:%H:%M:%S.%f}"[:-3], _printable(event["message"].rstrip()), flush=True)
        if not follow:
            return 0
        time.sleep(_POLL_SECONDS)


def _faults(arguments: argparse.Namespace) -> int:
    client = faults.Client(variables(_running(arguments)))
    if arguments.action == "add":
        number = client.add(arguments.target or "", **_members(arguments))
        added = next(fault for fault in client.listed() if fault["id"] == number)
        if arguments.json:
            return _print_json(added)
        print(f"fault {number}: {_fault_line(added)}")
    elif arguments.action == "clear":
        if arguments.target and not arguments.target.isdecimal():
            raise faults.FaultError(f"{arguments.target!r} is no number of a fault; see faults list")
        cleared = client.clear(int(arguments.target) if arguments.target else None)
        if arguments.json:
            return _print_json({"cleared": cleared})
        print(f"{cleared} cleared")
    elif arguments.json:
        return _print_json(client.listed())
    else:
        for fault in client.listed():
            print(f"{fault['id']:>4}  fired {fault['fired']} of {fault['times']:<7} {_fault_line(fault)}")
    return 0


def _members(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the flags as members of a fault."""
    members = {
        "error": arguments.error,
        "exit": arguments.exit_code,
        "answer": arguments.answer,
        "delay": arguments.delay,
    }
    effect, value = next(
        ((name, value) for name, value in members.items() if value is not None), (arguments.effect, None)
    )
    if effect is None:
        raise faults.FaultError("say what is to happen, for example --error ThrottlingException; see faults --help")
    member = faults.NEEDS.get(effect)
    times = int(arguments.times) if arguments.times.isdecimal() else arguments.times
    common = {
        "name": arguments.name,
        "times": times,
        "skip": arguments.skip,
        "message": arguments.message,
        "after": arguments.after,
    }
    return {"effect": effect, **common, **({member: value} if member else {})}


def _fault_line(fault: dict[str, Any]) -> str:
    """Return a fault in one line."""
    details = {name: fault[name] for name in ("error", "exit_code", "seconds", "answer", "message") if name in fault}
    text = ", ".join(f"{name} {value!r}" for name, value in details.items())
    where = "" if fault["name"] == "*" else f" ({fault['name']})"
    return f"{fault['operation']}{where}: {fault['effect']}{f', {text}' if text else ''}"


def _server_log(path: Path, follow: bool) -> int:
    if not path.exists():
        raise process.ProcessError(f"There is no {path}; the local cloud has not been started in the background yet.")
    while True:
        with path.open(errors="replace", newline="\n") as log:
            while True:
                sys.stdout.write(_printable(log.read()))
                sys.stdout.flush()
                if not follow:
                    return 0
                time.sleep(_POLL_SECONDS)
                if path.exists() and not os.path.samestat(os.fstat(log.fileno()), path.stat()):  # it was put aside
                    sys.stdout.write(_printable(log.read()))
                    break


def _printable(text: str) -> str:
    """Return a text of others for the terminal, without its control characters."""
    return few_lines(text, len(text) + 1)


if __name__ == "__main__":
    sys.exit(main())
