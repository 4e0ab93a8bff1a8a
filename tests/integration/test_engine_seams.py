"""The guard: the local cloud starts only on the MiniStack that it was written for; and what single seams mend."""

import subprocess
import sys
from pathlib import Path

from localcloud.engine import PROJECT, Settings, process_environment
from localcloud.engine.seams import PINNED_VERSION

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


def test_every_seam_is_where_it_was(tmp_path: Path) -> None:
    succeeds(tmp_path, "seams.check()")


def test_a_seam_that_moved_is_named_with_what_was_expected(tmp_path: Path) -> None:
    checked = run(
        tmp_path,
        "from ministack.services import sns, sqs\n"
        "sns._fanout = lambda topic, message: None\n"
        "del sqs._queue_by_arn\n"
        "seams.check()",
    )

    assert checked.returncode == 1
    assert "ministack.services.sns._fanout is (topic, message), expected (topic_arn, msg_id, message" in checked.stderr
    assert "ministack.services.sqs._queue_by_arn is gone" in checked.stderr
    assert "make install" in checked.stderr


def test_another_version_is_refused_even_if_every_seam_is_there(tmp_path: Path) -> None:
    checked = run(tmp_path, "seams.check(installed='1.6.0')")

    assert checked.returncode == 1
    assert f"MiniStack 1.6.0 is installed; the local cloud is written for {PINNED_VERSION}." in checked.stderr


def test_only_listed_seams_can_be_replaced(tmp_path: Path) -> None:
    replaced = run(tmp_path, "seams.replace('services.sns', '_publish', lambda original: original)")

    assert replaced.returncode == 1
    assert "KeyError: 'ministack.services.sns._publish'" in replaced.stderr


def test_an_older_worker_script_is_noticed(tmp_path: Path) -> None:
    checked = run(
        tmp_path,
        "from ministack.core import lambda_runtime\n"
        "lambda_runtime._PYTHON_WORKER_SCRIPT = 'print(1)'\n"
        "from localcloud.engine import functions\n"
        "functions.register()",
    )

    assert checked.returncode == 1
    assert "_PYTHON_WORKER_SCRIPT writes its errors in another way" in checked.stderr


def test_the_application_imports_nothing_of_ministack_outside_the_engine() -> None:
    folders = [folder for folder in PROJECT.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]

    users = {
        path.relative_to(PROJECT).parts[:2]
        for path in sources
        if any(
            line.strip().startswith(("import ministack", "from ministack")) for line in path.read_text().splitlines()
        )
    }

    assert users == {("localcloud", "engine")}


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
        "from ministack.services import stepfunctions\n"
        "from localcloud.engine import executions\n"
        "executions.register(lambda: None)\n"
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
        "from ministack.services import cloudformation, cloudwatch, cloudwatch_logs, dynamodb, stepfunctions\n"
        "from localcloud.engine import persistence\n"
        "save = app._build_persistence_save_dict()\n"
        "assert persistence._COPYING <= set(save), save\n"
        "for name in sorted(persistence._COPYING):\n"
        "    copied, state = save[name](), persistence._without_copies(save[name])()\n"
        "    stores = [*vars(globals()[name]).values()]\n"
        "    kept = [key for key, value in state.items() if any(value is store for store in stores)]\n"
        "    assert state.keys() == copied.keys() and kept, (name, kept)\n"
        "    assert set(state) - set(kept) <= {'tables'}, (name, kept)\n",
    )


def test_metrics_of_more_than_two_weeks_are_forgotten_and_others_are_not(tmp_path: Path) -> None:
    succeeds(
        tmp_path,
        "import time\n"
        "from ministack.services import cloudwatch\n"
        "from localcloud.engine import metrics\n"
        "metrics.register()\n"
        "old, young = {'Timestamp': time.time() - 15 * 86400}, {'Timestamp': time.time() - 13 * 86400}\n"
        "cloudwatch._metrics.update({'gone': [old], 'some': [old, young], 'all': [young]})\n"
        "cloudwatch._evict_old_metrics()\n"
        "assert dict(cloudwatch._metrics.items()) == {'some': [young], 'all': [young]}\n",
    )
