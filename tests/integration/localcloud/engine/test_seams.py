"""The guard: the local cloud starts only on the MiniStack that it was written for; and what single seams mend."""

import subprocess
import sys
from pathlib import Path

from localcloud.engine.seams import PINNED_VERSION
from localcloud.settings import PROJECT, Settings, process_environment

PREPARE = "from localcloud.engine import seams\n"


def run(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, because importing MiniStack changes the process."""
    variables = process_environment(Settings(1, tmp_path))
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREPARE + script],
        cwd=PROJECT, env=variables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def succeeds(tmp_path: Path, script: str) -> None:
    """The script ends well: its assertions are those of the test."""
    ended = run(tmp_path, script)
    assert ended.returncode == 0, ended.stderr


def test_another_version_is_refused(tmp_path: Path) -> None:
    checked = run(tmp_path, "seams.check(installed='1.6.0')")

    assert checked.returncode == 1
    assert f"MiniStack 1.6.0 is installed; the local cloud is written for {PINNED_VERSION}." in checked.stderr


def test_a_name_that_is_not_declared_is_neither_used_nor_replaced(tmp_path: Path) -> None:
    sns = "sns = seams.Seams('services.sns', _fanout='01234567')\n"
    for use in ("sns._publish", "sns.replace('_publish', lambda original: original)"):
        ended = run(tmp_path, f"{sns}sns._fanout\n{use}")
        assert ended.returncode == 1
        assert "ministack.services.sns._publish is used, but not declared as a seam" in ended.stderr


def test_an_older_worker_script_is_noticed(tmp_path: Path) -> None:
    checked = run(
        tmp_path,
        "from ministack.core import lambda_runtime\n"
        "lambda_runtime._PYTHON_WORKER_SCRIPT = 'print(1)'\n"
        "from localcloud.engine.lambda_ import functions\n"
        "functions.register()",
    )

    assert checked.returncode == 1
    assert "_PYTHON_WORKER_SCRIPT writes its answers in another way" in checked.stderr


def test_a_session_that_begins_while_old_ones_are_forgotten_disturbs_nobody(tmp_path: Path) -> None:
    """Two branches of an execution did this to each other; here the first session's look at its end begins another."""
    succeeds(
        tmp_path,
        "from ministack.services import sts\n"
        "from localcloud.engine.permissions import services\n"
        "services.register()\n"
        "class Meanwhile(dict):\n"
        "    def get(self, *name):\n"
        "        sts._sessions[f'another {len(sts._sessions)}'] = {}\n"
        "        return super().get(*name)\n"
        "sts._sessions.update(first=Meanwhile(), old={'Expiration': 1})\n"
        "sts.register_session('new', {})\n"
        "assert {'first', 'new'} < set(sts._sessions) and 'old' not in sts._sessions\n",
    )


def test_an_event_of_an_execution_is_whole_as_soon_as_others_can_see_it(tmp_path: Path) -> None:
    """Who read the history just then met a dictionary that changed size; here the list looks when it gets the event."""
    succeeds(
        tmp_path,
        "from pathlib import Path\n"
        "from ministack.services import stepfunctions\n"
        "from localcloud.engine.stepfunctions import executions\n"
        "from localcloud.engine.stepfunctions.files import ExecutionFiles\n"
        f"executions.register(ExecutionFiles(Path({str(tmp_path / 'executions')!r})), print, print)\n"
        "class Seen(list):\n"
        "    def append(self, event):\n"
        "        super().append(dict(event))\n"
        "execution = {'events': Seen()}\n"
        "added = [stepfunctions._add_event(execution, 'TaskScheduled') for _ in range(2)]\n"
        "assert execution['events'] == added\n"
        "assert [event['previousEventId'] for event in added] == [0, 1]\n",
    )


GROWS = (
    "from localcloud.engine import readers\n"
    "from ministack.core import iam_evaluator\n"
    "from ministack.services import cloudwatch_logs, iam\n"
    "readers.register()\n"
    "class Meanwhile(dict):\n"
    "    def walk(self, found):\n"
    "        for each in found:\n"
    "            yield each\n"
    "            self.setdefault('second', self['first'])\n"
    "    def values(self):\n"
    "        return self.walk(dict.values(self))\n"
    "    def items(self):\n"
    "        return self.walk(dict.items(self))\n"
)
"""A dictionary to which another thread adds an entry while it is walked for the first time."""
STREAM = "{'events': [{'message': 'hello', 'timestamp': 1}]}"
GROUP = f"{{'streams': Meanwhile(first={STREAM}), 'arn': 'a', 'creationTime': 1, 'retentionInDays': None}}"


def test_log_groups_are_listed_while_something_that_runs_begins_its_log(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        f"{GROWS}cloudwatch_logs._log_groups['group'] = {GROUP}\n"
        "status, _, body = cloudwatch_logs._describe_log_groups({})\n"
        "assert status == 200 and b'\"storedBytes\": 10' in body, body\n",
    )


def test_logs_are_queried_while_something_that_runs_begins_its_log(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        f"{GROWS}cloudwatch_logs._log_groups['group'] = {GROUP}\n"
        "assert len(cloudwatch_logs._collect_query_records(['group'], 0, 1)) == 2\n",
    )


def test_a_role_decides_while_a_stack_gives_it_another_policy(tmp_path: Path) -> None:
    allow = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
    succeeds(
        tmp_path,
        f"{GROWS}iam._roles['role'] = {{'InlinePolicies': Meanwhile(first='{allow}')}}\n"
        "assert len(iam_evaluator._gather_role_policies('role', '000000000000')) == 2\n",
    )


def test_large_services_are_saved_as_they_are_without_a_copy(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        "from ministack import app\n"
        "from ministack.services import cloudformation, cloudwatch, eventbridge, iam, sns, sqs, ssm, stepfunctions\n"
        "from localcloud.engine import persistence\n"
        "save = app._build_persistence_save_dict()\n"
        "assert persistence._COPYING <= set(save), save\n"
        "for name in sorted(persistence._COPYING):\n"
        "    copied, state = save[name](), persistence.rebound(save[name])()\n"
        "    stores = [*vars(globals()[name]).values()]\n"
        "    kept = [key for key, value in state.items() if any(value is store for store in stores)]\n"
        "    assert state.keys() == copied.keys() and set(kept) == set(state), (name, kept)\n",
    )


WITHOUT = (
    "from pathlib import Path\n"
    "from ministack import app\n"
    "from ministack.core import persistence\n"
    "from ministack.services import cloudwatch, cloudwatch_logs, dynamodb, stepfunctions\n"
    "from localcloud.engine.dynamodb import Tables\n"
    "from localcloud.engine.cloudwatch import metrics\n"
    "from localcloud.engine.logs.files import LogFiles\n"
    "from localcloud.engine.stepfunctions import executions\n"
    "from localcloud.engine.stepfunctions.files import ExecutionFiles\n"
    "folder = Path(FOLDER)\n"
    'executions.register(ExecutionFiles(folder / "executions"), print, print)\n'
    "metrics.register()\n"
    'LogFiles(folder / "logs").register()\n'
    'Tables(folder / "tables").register()\n'
    'stepfunctions._executions["arn"] = {"status": "RUNNING", "events": ["large"]}\n'
    'cloudwatch._metrics["metric"] = [{"Timestamp": 1, "Value": 1.0, "Unit": "large"}]\n'
    'cloudwatch_logs._log_groups["group"] = {"streams": {"empty": {"events": []}, "full": {"events": ["large"]}}}\n'
    'dynamodb._tables["table"] = {"items": {"a": {"b": "large"}}, "TableName": "table"}\n'
    "state = app._build_persistence_save_dict()\n"
)


def test_what_grows_is_not_in_the_file_of_its_service(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        WITHOUT.replace("FOLDER", repr(str(tmp_path))) + "import json\n"
        "for name in ('stepfunctions', 'cloudwatch', 'cloudwatch_logs', 'dynamodb'):\n"
        "    text = json.dumps(state[name](), default=persistence._json_default)\n"
        "    assert 'large' not in text, text\n"
        "assert list(state['cloudwatch_logs']()['log_groups']['group']['streams']) == ['empty']\n"
        "assert state['dynamodb']()['tables']['table']['TableName'] == 'table'\n"
        "from localcloud.engine.persistence import _encoded\n"
        "assert b'large' in _encoded(state['cloudwatch_metrics'](), persistence._json_default)\n",
    )


def test_points_that_an_earlier_version_has_saved_with_the_rest_have_their_own_file_before_that_is_saved(
    tmp_path: Path,
) -> None:
    (tmp_path / "engine").mkdir()
    succeeds(
        tmp_path,
        "from ministack.core import persistence\n"
        "from ministack.core.responses import AccountRegionScopedDict\n"
        "from ministack.services import cloudwatch\n"
        "from localcloud.engine.cloudwatch import metrics\n"
        "metrics.register()\n"
        "saved = AccountRegionScopedDict()\n"
        "saved['metric'] = [{'Timestamp': 1, 'Value': 1.0, 'Unit': 'Count'}]\n"
        "cloudwatch._restore_state({'metrics': saved})\n"
        "kept = persistence.load_state('cloudwatch_metrics')['metrics']\n"
        "assert dict(kept.items()) == dict(saved.items())\n"
        "cloudwatch._metrics.clear()\n"
        "cloudwatch._restore_state(cloudwatch.get_state())\n"
        "assert dict(cloudwatch._metrics.items()) == dict(saved.items())\n",
    )


def test_points_of_metrics_become_fewer_with_their_age_as_on_aws(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        "from localcloud.engine.cloudwatch import metrics\n"
        "now, hour, day = 1_800_000_000.0, 3600, 86_400\n"
        "def two(age, apart):\n"
        "    at = now - age - (now - age) % 3600\n"
        "    point = {'Unit': 'Count', 'Dimensions': {'Queue': 'q'}}\n"
        "    return [{**point, 'Timestamp': at, 'Value': 1.0}, {**point, 'Timestamp': at + apart, 'Value': 3.0}]\n"
        "young = two(2 * hour, 59)\n"
        "assert metrics.summarized(young, now) == young\n"
        "for age, seconds in ((4 * hour, 60), (16 * day, 300), (64 * day, 3600), (454 * day, 3600)):\n"
        "    first, second = two(age, seconds - 1)\n"
        "    statistics = {'SampleCount': 2, 'Sum': 4, 'Average': 2, 'Minimum': 1, 'Maximum': 3}\n"
        "    expected = [{**first, 'Value': 2.0, '_stat': statistics}]\n"
        "    once = metrics.summarized([first, second], now)\n"
        "    assert once == expected, (age, once)\n"
        "    assert metrics.summarized(once, now) == once\n"
        "    assert metrics.summarized([*once, second], now)[0]['_stat']['SampleCount'] == 3\n"
        "    apart = two(age, seconds)\n"
        "    assert metrics.summarized(apart, now) == apart or seconds == 3600, age\n"
        "assert metrics.summarized(two(456 * day, 1), now) == []\n",
    )


def test_log_events_are_kept_for_as_long_as_their_group_says(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        "import json, time\n"
        "from pathlib import Path\n"
        "from ministack.services import cloudwatch_logs\n"
        "from localcloud.engine.logs.files import LogFiles\n"
        f"files = LogFiles(Path({str(tmp_path / 'logs')!r}))\n"
        "files.register()\n"
        "now = int(time.time() * 1000)\n"
        "old, young = now - 8 * 86_400_000, now - 6 * 86_400_000\n"
        "message = 'caf\\u00e9 and half of a pair: \\ud83d'\n"
        "def stream(*times):\n"
        "    made = {'events': [], 'creationTime': 1, 'firstEventTimestamp': None, 'lastEventTimestamp': None}\n"
        "    events = [{'timestamp': t, 'ingestionTime': now, 'message': message} for t in times]\n"
        "    return made, events\n"
        "for name, days in (('week', 7), ('ever', None)):\n"
        "    given = {'old': stream(old), 'mixed': stream(old, young), 'young': stream(young)}\n"
        "    streams = {name: made for name, (made, _) in given.items()}\n"
        "    cloudwatch_logs._log_groups[name] = {'retentionInDays': days, 'streams': streams}\n"
        "    for made, events in given.values():\n"
        "        cloudwatch_logs._append_log_events(made, events)\n"
        "    files.save()\n"
        "files.prune()\n"
        "files.save()\n"
        "def kept(name):\n"
        "    streams = cloudwatch_logs._log_groups[name]['streams']\n"
        "    assert {e['message'] for made in streams.values() for e in made['events']} == {message}\n"
        "    return {name: [e['timestamp'] for e in made['events']] for name, made in streams.items()}\n"
        "expected = {'week': {'mixed': [young], 'young': [young]},\n"
        "            'ever': {'old': [old], 'mixed': [old, young], 'young': [young]}}\n"
        "assert {name: kept(name) for name in expected} == expected\n"
        "state = cloudwatch_logs.get_state()\n"
        "cloudwatch_logs._log_groups.clear()\n"
        f"LogFiles(Path({str(tmp_path / 'logs')!r})).register()\n"
        "cloudwatch_logs._restore_state(state)\n"
        "assert {name: kept(name) for name in expected} == expected\n",
    )


def test_log_groups_and_streams_are_listed_after_a_start_without_reading_an_event(tmp_path: Path) -> None:
    """With an index of the last end and with none, as after a kill."""
    begin = (
        "import json\n"
        "from pathlib import Path\n"
        "from ministack.services import cloudwatch_logs as logs\n"
        "from localcloud.engine.logs.files import LogFiles\n"
        f"files = LogFiles(Path({str(tmp_path / 'logs')!r}))\n"
        "files.register()\n"
        "def group(**streams):\n"
        "    return {'arn': 'arn:g', 'creationTime': 1, 'retentionInDays': None, 'streams': streams}\n"
        "new = {'creationTime': 1, 'uploadSequenceToken': '1'}\n"
        "new |= {'firstEventTimestamp': None, 'lastEventTimestamp': None}\n"
        "def event(time):\n"
        "    return {'timestamp': time, 'ingestionTime': time, 'message': 'x' * 70_000}\n"
        "def listed():\n"
        "    streams = json.loads(logs._describe_log_streams({'logGroupName': 'g'})[2])['logStreams']\n"
        "    (found,) = json.loads(logs._describe_log_groups({})[2])['logGroups']\n"
        "    times = [(one['logStreamName'], one.get('lastEventTimestamp'), one['storedBytes']) for one in streams]\n"
        "    return found['storedBytes'], times\n"
        "expected = 140_000, [('a', 2, 0), ('b', 3, 0), ('none', None, 0)]\n"
    )
    write = (
        "streams = {name: {**new, 'events': []} for name in ('a', 'b', 'none')}\n"
        "logs._log_groups['g'] = group(**streams)\n"
        "for name, time in (('a', 2), ('b', 3)):\n"
        "    logs._append_log_events(streams[name], [event(time)])\n"
        "files.save()\n"
        "assert listed() == expected, listed()\n"
    )
    read = (
        "logs._log_groups['g'] = group(none={**new, 'events': []})\n"
        "logs._restore_state({'log_groups': {}})\n"
        "assert listed() == expected, listed()\n"
        "state = logs.get_state()['log_groups']['g']['streams']\n"
        "assert list(state) == ['none']\n"
        "assert [name for name, one in logs._log_groups['g']['streams'].items() if 'events' in one] == ['none']\n"
        "logs._append_log_events(logs._log_groups['g']['streams']['a'], [event(4)])\n"
        "assert [one['timestamp'] for one in logs._log_groups['g']['streams']['a']['events']] == [2, 4]\n"
        "assert listed() == (210_000, [('a', 4, 0), ('b', 3, 0), ('none', None, 0)])\n"
        "assert logs._describe_log_streams({'logGroupName': 'other'})[0] == 400\n"
    )
    succeeds(tmp_path, begin + write)
    assert not list((tmp_path / "logs").glob("*.index"))
    succeeds(tmp_path, begin + read + "files.write_indexes()\n")
    assert len(list((tmp_path / "logs").glob("*.index"))) == 1
    succeeds(tmp_path, begin + read)


def test_an_execution_that_was_killed_before_anybody_was_told_of_it_is_told_and_closed(tmp_path: Path) -> None:
    """Its events are read when they are needed. One such execution kept all others from their end."""
    succeeds(
        tmp_path,
        "from pathlib import Path\n"
        "from ministack.services import stepfunctions\n"
        "from localcloud.engine.stepfunctions import executions\n"
        "from localcloud.engine.stepfunctions.files import ExecutionFiles\n"
        f"folder = Path({str(tmp_path)!r}) / 'executions'\n"
        "folder.mkdir()\n"
        "arns = [f'arn:aws:states:us-east-1:000000000000:execution:machine:{name}' for name in 'ab']\n"
        "for arn in arns:\n"
        "    started = {'id': 1, 'type': 'ExecutionStarted', 'executionStartedEventDetails': {'input': '{}'}}\n"
        "    execution = {'executionArn': arn, 'name': arn[-1], 'status': 'RUNNING'}\n"
        "    machine = arn.rpartition(':')[0].replace('execution', 'stateMachine')\n"
        "    execution |= {'stateMachineArn': machine, 'startDate': '2026-01-01T00:00:00Z', 'events': [started]}\n"
        "    ExecutionFiles(folder).begin(execution)\n"
        "files, told = ExecutionFiles(folder), []\n"
        "def tell(execution):\n"
        "    told.append((execution['name'], execution['status']))\n"
        "stepfunctions._emit_execution_status_event = tell\n"
        "executions.register(files, lambda: None, lambda *names: None)\n"
        "executions.announce_interrupted(files)\n"
        "assert sorted(told) == [(name, status) for name in 'ab' for status in ('FAILED', 'RUNNING')], told\n"
        "ends = [stepfunctions._executions.get_scoped('000000000000', 'us-east-1', arn)['events'] for arn in arns]\n"
        "types = [[event['type'] for event in events] for events in ends]\n"
        "assert types == [['ExecutionStarted', 'ExecutionFailed']] * 2, types\n",
    )
