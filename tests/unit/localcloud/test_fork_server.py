"""Programs that are forks: as Python would run them, and nothing of one in the next."""

import functools
import importlib
import inspect
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore import hooks, useragent, utils
from botocore.handlers import BUILTIN_HANDLERS

from localcloud.fork_server import LOADS, HiddenModules, _load_pure, noted_imports, quicken_events, quicken_requests
from localcloud.forks import ForkedProcess, ForkServer, read_at_start
from localcloud.sagemaker.jobs.process import kill_orphan
from localcloud.sagemaker.platform import image_python as image_python_module
from localcloud.sagemaker.platform.image_python import ImagePython, Process, Program
from localcloud.settings import image_python
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are forks on Linux only")

OURS = Path(image_python_module.__file__).parents[1]
# What a program can reach of its interpreter and its process, as JSON.
LOOK = """
import gc, json, os, resource, signal, sys, threading, time, warnings
import numpy
print(json.dumps({
    "modules": sorted(sys.modules),
    "marks": [hasattr(module, "left_behind") for module in (json, os, sys, numpy)],
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "path": sys.path,
    "arguments": sys.argv,
    "mask": os.umask(0o22),
    "handlers": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "files": sorted(os.listdir("/proc/self/fd")),
    "threads": len(os.listdir("/proc/self/task")),
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"},
    "wakes": signal.set_wakeup_fd(-1),
    "timer": signal.getitimer(signal.ITIMER_REAL),
    "filters": [str(each) for each in warnings.filters if each[1] is None and each[2].__module__ == "builtins"],
    "garbage": (gc.isenabled(), gc.get_threshold()),
    "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
    "streams": [(each.encoding, each.errors, each.line_buffering) for each in (sys.stdin, sys.stdout, sys.stderr)],
    "zone": time.tzname,
    "nice": os.nice(0),
    "names": sorted(globals()),
    "recursion": sys.getrecursionlimit(),
    "errors": numpy.geterr(),
    "group": os.getpid() == os.getpgid(0) == os.getsid(0),
}))
"""
# Changes all of it.
SPOIL = """
import json, os, resource, signal, sys, threading, time
import numpy
for module in (json, os, sys, numpy):
    module.left_behind = True
os.environ["LEFT"] = "behind"
os.chdir("/")
os.umask(0)
sys.path.insert(0, "/left")
sys.modules["left"] = sys
sys.setrecursionlimit(5000)
numpy.seterr(all="raise")
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))
os.dup2(1, 50)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
builtins = __builtins__
builtins.print = None
open("/proc/self/oom_score_adj", "w").write("500")
"""
LAST_WORDS = {
    "an error, a thread and what is registered": """
import atexit, threading
atexit.register(print, "bye")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
def f():
    raise ValueError("x") from KeyError("y")
f()
""",
    "no Python": "def f(:",
    "a text": "raise SystemExit('a text')",
    "an interrupt": "raise KeyboardInterrupt",
    "a hook": "import sys; sys.excepthook = lambda *error: print('hook', error[:2]); 1 / 0",
    "a group": "raise ExceptionGroup('several', [ValueError('one'), TypeError('two')])",
    "output without an end": "print('a', end='')",
    "a number": "import sys; sys.exit(3)",
    "a large number": "import sys; sys.exit(256 + 4)",
    "a number below zero": "import sys; sys.exit(-1)",
    "true": "raise SystemExit(True)",
    "an end without words": "import sys; sys.exit()",
    "an end of its own": "import os; os._exit(5)",
    "a file that is not closed": "file = open('left.txt', 'w'); file.write('text')",
    "a file that something else holds": "import json; json.file = open('left.txt', 'wb'); json.file.write(b'bytes')",
    "what stands in C's own buffer": "import ctypes; ctypes.CDLL(None).printf(b'text')",
    "a file of C's that is not closed": """
import ctypes
c = ctypes.CDLL(None)
c.fopen.restype = ctypes.c_void_p
c.fputs(b"text", ctypes.c_void_p(c.fopen(b"left.txt", b"w")))
""",
    "the last of an object": """
class Ended:
    def __del__(self): print("ended")
ended, itself = Ended(), Ended()
itself.again = itself
""",
    "work that is under way": """
import atexit, time
from concurrent.futures import ThreadPoolExecutor
atexit.register(print, "last")
ThreadPoolExecutor(2).submit(lambda: (time.sleep(0.1), print("done")))
""",
    "an error of what is registered": "import atexit; atexit.register(divmod, 1, 0)",
    "no output": "import sys; sys.stdout = None",
    "an output that is closed": "import sys; sys.stdout.close()",
    "an output that nobody reads": """
import os, sys
read, write = os.pipe()
os.dup2(write, 1)
os.close(read)
os.close(write)
print("text")
""",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "what is __main__": """
import __main__, inspect, pickle
class C: pass
print(pickle.loads(pickle.dumps(C())).__class__ is __main__.C, sorted(globals()), __name__, __spec__, __package__)
print(type(__loader__).__name__, __loader__ and inspect.getsource(C) if "__file__" in globals() else "")
""",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagePython]:
    made = ImagePython(image_python(), tmp_path_factory.mktemp("state"))
    yield made
    made.close()


def start(image: ImagePython, code: str, folder: Path, *, script: bool = True, **environment: str) -> Process:
    (folder / "program.py").write_text(code)
    argv = [str(image.path), *([str(folder / "program.py")] if script else ["-c", code]), "argument"]
    return image.start(argv, folder, image.environment(folder) | environment)


def said(program: Process) -> str:
    assert program.stdout is not None
    with program.stdout:
        text = program.stdout.read().decode()
    program.wait(30)
    return text


def sleeping(image: ImagePython, folder: Path) -> Program:
    program = start(image, "import time; time.sleep(60)", folder)
    assert isinstance(program, Program)
    return program


@pytest.mark.parametrize("script", [True, False], ids=["script", "code"])
@pytest.mark.parametrize("code", LAST_WORDS.values(), ids=LAST_WORDS)
def test_a_fork_ends_as_a_process_of_its_own(image: ImagePython, code: str, script: bool, tmp_path: Path) -> None:
    ended, left = [], tmp_path / "left.txt"
    for forks in (True, False):
        program = start(image if forks else ImagePython(image.path, image.root, False), code, tmp_path, script=script)
        assert isinstance(program, Program) is forks
        ended.append((said(program), program.returncode, left.read_text() if left.exists() else ""))
        left.unlink(missing_ok=True)
    assert ended[0] == ended[1]


def test_a_fork_finds_what_a_process_of_its_own_finds(image: ImagePython, tmp_path: Path) -> None:
    forked: dict[str, Any] = json.loads(said(start(image, LOOK, tmp_path)))
    alone: dict[str, Any] = json.loads(said(start(ImagePython(image.path, image.root, False), LOOK, tmp_path)))
    threads = alone.pop("threads")  # OpenBLAS has them ready; a fork starts them when it needs them
    assert forked.pop("threads") == 1 <= threads
    assert set(forked.pop("modules")) >= set(alone.pop("modules"))
    assert forked == alone


def test_nothing_of_a_program_is_left_for_the_next(image: ImagePython, tmp_path: Path) -> None:
    before = said(start(image, LOOK, tmp_path))
    spoiler = start(image, SPOIL, tmp_path)
    said(spoiler)
    assert spoiler.returncode == 0
    assert said(start(image, LOOK, tmp_path)) == before


def test_random_numbers_are_others_in_each_program(image: ImagePython, tmp_path: Path) -> None:
    code = "import random, numpy; print(random.random(), numpy.random.random(), numpy.random.default_rng().random())"
    first, second = (said(start(image, code, tmp_path)).split() for _ in range(2))
    assert not set(first) & set(second)


def test_a_module_that_is_not_imported_is_not_there(image: ImagePython, tmp_path: Path) -> None:
    """On AWS the script would fail, and only there."""
    code = """
import pyarrow, sys
print([hasattr(pyarrow, name) for name in ("csv", "parquet", "compute", "fs")])
print("pandas" in sys.modules, "sklearn" in sys.modules, "xgboost" in sys.modules)
from pyarrow import compute
import pyarrow.parquet as parquet, pyarrow.csv
print(compute.sum(pyarrow.array([1, 2])), parquet.core.__spec__.name, pyarrow.csv.__spec__.origin[-14:])
"""
    assert said(start(image, code, tmp_path)).splitlines() == [
        "[False, False, False, False]",
        "False False False",
        "3 pyarrow.parquet.core pyarrow/csv.py",
    ]


@pytest.mark.parametrize(
    "program", sorted(OURS.glob("*/*_train.py")) + sorted(OURS.glob("*/*_serve.py")), ids=lambda path: path.stem
)
def test_what_stands_in_for_an_image_is_a_fork(program: Path, image: ImagePython, tmp_path: Path) -> None:
    """Also where a module beside it is called like a library."""
    process = image.start([str(image.path), str(program), "--help"], tmp_path, image.environment(tmp_path))
    assert isinstance(process, Program)
    assert "usage" in said(process)


# Says whether scikit-learn was asked for and how many of XGBoost's files were read, and what its library answers then.
IMPORTS_XGBOOST = """
import sys
read, asked = [], []
class Finder:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "sklearn":
            asked.append(name)
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Finder())
if {hides}:
    sys.modules["sklearn"] = None
sys.addaudithook(lambda event, arguments: event == "open" and "/xgboost/" in str(arguments[0]) and read.append(1))
import xgboost
assert xgboost.callback.TrainingCallback  # which is there without an import of its own
sys.modules.pop("sklearn", None)
import numpy, xgboost.tracker, xgboost.core
matrix = xgboost.DMatrix(numpy.arange(20.0).reshape(10, 2), label=numpy.arange(10.0))
booster = xgboost.train({{"nthread": 1}}, matrix, 2)
is_same = type(booster) is sys.modules["xgboost.core"].Booster
print(len(asked) > 0, len(read) > 0, booster.predict(matrix).shape, is_same)
"""


@pytest.mark.parametrize("hides", [True, False])
def test_xgboost_is_loaded_beforehand_for_programs_that_hide_scikit_learn(
    hides: bool, image: ImagePython, tmp_path: Path
) -> None:
    """The others get the one that has found scikit-learn."""
    said_by_fork = said(start(image, IMPORTS_XGBOOST.format(hides=hides), tmp_path))
    assert said_by_fork == f"{not hides} {not hides} (10,) True\n"


# Says how often Python has compiled something, and what two modules and their tracebacks are.
IMPORTS = """
import sys
compiled = []
sys.addaudithook(lambda event, arguments: event == "compile" and compiled.append(arguments))
sys.path.insert(0, str(__import__("pathlib").Path(__file__).with_name("code.zip.unpacked")))
import traceback
del compiled[:]
import beside, packed.inner
print(len(compiled), beside.VALUE, packed.inner.VALUE, packed.inner.f.__code__.co_filename == packed.inner.__file__)
try:
    beside.f()
except ZeroDivisionError:
    print(traceback.format_exc().splitlines()[-3].strip())
"""


def write_modules(folder: Path, value: int) -> None:
    """Write a module beside the program, an archive, and what the program would have unpacked of it."""
    source = f"VALUE = {value}\ndef f():\n    return 1 / 0\n"
    (folder / "beside.py").write_text(source)
    unpacked = folder / "code.zip.unpacked"
    (unpacked / "packed").mkdir(parents=True, exist_ok=True)
    (unpacked / "packed" / "__init__.py").write_text(f"# {value}\n")
    (unpacked / "packed" / "inner.py").write_text(source + "# of the package\n")
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        for path in (unpacked / "packed").iterdir():
            archive.write(path, path.relative_to(unpacked))


def test_modules_of_programs_are_compiled_once_and_are_those_of_the_moment(image: ImagePython, tmp_path: Path) -> None:
    within = image.root / tmp_path.name
    within.mkdir()
    for value in (1, 2):
        write_modules(within, value)
        assert said(start(image, IMPORTS, within)).splitlines() == [f"0 {value} {value} True", "return 1 / 0"]
    alone = ImagePython(image.path, image.root, False)
    assert said(start(alone, IMPORTS, within)).splitlines() == ["3 2 2 True", "return 1 / 0"]


@pytest.mark.parametrize("broken", ["no Python", "no archive", "deep"])
def test_what_cannot_be_compiled_beforehand_fails_where_it_is_imported(
    broken: str, image: ImagePython, tmp_path: Path
) -> None:
    within = image.root / tmp_path.name
    within.mkdir()
    (within / "beside.py").write_text({"deep": "-" * 10**6 + "1"}.get(broken, "def f(:"))
    (within / "code.zip").write_bytes(b"PK, but none" if broken == "no archive" else b"")
    text = said(start(image, "import os\nprint(os.getpid())\nimport beside", within))
    assert ("SyntaxError" if broken != "deep" else "Error") in text
    server = image.server_pid
    assert said(start(image, "print('next')", within)) == "next\n"
    assert image.server_pid == server


# What a function finds that was read for it beforehand; it changes it, and looks again as another session would.
READ = """
import json, sys
import boto3, botocore, pydantic, s3transfer
print([hasattr(*each) for each in ((boto3, "s3"), (s3transfer, "subscribers"), (pydantic, "left_behind"))])
from botocore import loaders, session
def look():
    found = session.Session(session_vars={"data_path": ("data_path", None, sys.argv[1], None)})
    loader = found.get_component("data_loader")
    names = ["endpoints", "partitions", "_retry"]
    models = [loader.load_service_model(name, kind) for name in MODELS for kind in KINDS]
    services = [loader.list_available_services(kind) for kind in (*KINDS, "paginators-1")]
    return [*map(loader.load_data, names), *models, *services]
KINDS = ("service-2", "endpoint-rule-set-1")
MODELS = ("dynamodb", "s3", "sagemaker", "ssm", "stepfunctions", "sqs")
first = look()
print(json.dumps(first))
for data in first:
    data.append("left") if isinstance(data, list) else data.update(left="behind")
botocore.left_behind = loaders.left_behind = True
print(json.dumps(look()))
from pydantic import BaseModel, TypeAdapter
from pydantic.plugin import _loader
print(_loader._plugins)
class Model(BaseModel):
    number: int
print(_loader._plugins, Model(number="3"), TypeAdapter(list[Model]).json_schema())
print(boto3.client("s3", region_name="eu-west-1").meta.method_to_api_mapping)
"""


def test_a_function_finds_data_and_models_as_if_it_had_read_them(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"]}
    server = ForkServer(Path(sys.executable), ["layers"], tmp_path, environment)
    for name in ("ssm", "own"):
        model = tmp_path / "data" / name / "2014-11-06" / "service-2.json"
        model.parent.mkdir(parents=True)
        model.write_text('{"own": true}')
    command = [sys.executable, "-c", READ, str(tmp_path / "data")]
    alone = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert '{"own": true}' in alone
    for number in range(2):
        with (tmp_path / f"said-{number}").open("w+") as out:
            started = server.fork(command, tmp_path, environment, {0: 0, 1: out.fileno(), 2: out.fileno()})
            assert started
            ForkedProcess(*started).wait(30)
            out.seek(0)
            is_same = out.read() == alone  # megabytes, which pytest would take minutes to tell apart
            assert is_same
    server.close()


# Says after each import which modules there are, and whether a package of ours was read for it; spoils one at the end.
IMPORTS_OURS = """
import json, sys
import boto3, numpy
boto3.client("s3", region_name="eu-west-1")
read = []
def hook(event, arguments):
    if event == "open" and "/perennial/" in str(arguments[0]) and "/perennial/__" not in str(arguments[0]):
        read.append(arguments)
sys.addaudithook(hook)
ours = ("aws_lambda_powertools", "perennial")
def look(name):
    __import__(name)
    modules = sorted(each for each in sys.modules if each.startswith(ours))
    attributes = {each: sorted(vars(sys.modules[each])) for each in modules if each.startswith("perennial")}
    specs = [(str(sys.modules[each].__spec__.loader)[:40], sys.modules[each].__file__) for each in modules]
    print(json.dumps([name, modules, attributes, specs]))
for name in sys.argv[1:]:
    look(name)
from perennial.evaluation.gate import Gate
from perennial.model import definition
import pydantic, pydantic.plugin._loader
print(pydantic.main.BaseModel is pydantic.BaseModel, pydantic.plugin._loader._plugins or {})
print(hasattr(definition, "left_behind"), hasattr(Gate, "left_behind"))
definition.left_behind = True
Gate.left_behind = True
print("read", len(read) > 0)
"""


def test_a_function_finds_the_domain_as_if_it_had_read_it(tmp_path: Path) -> None:
    """Each module brings what it imports and no other, and nobody's change to one is there for the next."""
    root = str(Path(__file__).resolve().parents[3])
    environment = {"PATH": os.environ["PATH"]}
    server = ForkServer(Path(sys.executable), ["layers", root], tmp_path, environment)
    names = [*reversed(LOADS["layers"].pure), "aws_lambda_powertools", "perennial.model"]
    command, environment = [sys.executable, "-c", IMPORTS_OURS, *names], environment | {"PYTHONPATH": root}
    alone = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    for number in range(2):
        with (tmp_path / f"said-{number}").open("w+") as out:
            started = server.fork(command, tmp_path, environment, {0: 0, 1: out.fileno(), 2: out.fileno()})
            assert started
            ForkedProcess(*started).wait(30)
            out.seek(0)
            assert out.read().splitlines() == [*alone.splitlines()[:-1], "read False"]
    assert alone.splitlines()[-1] == "read True"
    server.close()


# Says what is read of the environment, asked of the system or started while the modules are loaded.
WATCHES = """
import json, os, sys, time
import boto3, numpy, pydantic.main, pydantic.types, yaml
from localcloud.fork_server import LOADS, HiddenModules, _load_pure, noted_imports, quicken_events
asked = []
changes = ("ctypes.", "os.chdir", "os.exec", "os.fork", "os.posix_spawn", "os.putenv", "signal.", "socket.")
def hook(event, arguments):
    if event.startswith(changes) or (event == "open" and str(arguments[1]) not in ("r", "rb")):
        asked.append((event, str(arguments)))
before = (dict(os.environ), list(sys.path), len(sys.meta_path))
get = os._Environ.__getitem__
os._Environ.__getitem__ = lambda environment, name: asked.append(name) or get(environment, name)
sys.addaudithook(hook)
_load_pure(LOADS["layers"].pure)
found = [str(each) for each in asked]
missing = [name for name in LOADS["layers"].pure if name not in sys.modules]
print(json.dumps([*found, missing, before == (dict(os.environ), list(sys.path), len(sys.meta_path))]))
"""


def test_what_is_loaded_of_layers_asks_nothing_but_what_all_its_programs_have() -> None:
    """Variables that it reads are the same in the process and in what is forked from it."""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", WATCHES]
    text = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, timeout=60).stdout
    *asked, missing, unchanged = json.loads(text)
    assert (missing, unchanged) == ([], True)
    assert set(read_at_start(dict.fromkeys(asked, ""))) == set(asked)


def test_a_package_has_what_it_calls_like_one_of_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"own_package", "own_package.shown", "own_package.thing"}
    sources = ("from own_package.thing import thing\nimport own_package.shown", "", "def thing(): ...")
    (tmp_path / "own_package").mkdir()
    for name, source in zip(("__init__", "shown", "thing"), sources, strict=True):
        (tmp_path / "own_package" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with noted_imports() as needs:
        importlib.import_module("own_package")
    monkeypatch.setattr(sys, "meta_path", [HiddenModules(names, needs), *sys.meta_path])
    package = importlib.import_module("own_package")
    there = {name for name in names if sys.modules.pop(name, None)}
    assert (callable(package.thing), type(package.shown), there) == (True, ModuleType, names)


def test_handlers_of_events_are_known_as_botocore_works_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handlers:
        def each(self, **_: Any) -> None: ...
        def one(self, name: str) -> None: ...
        def __call__(self, **_: Any) -> None: ...

    def signed(name: str) -> None: ...

    vars(signed)["__signature__"] = inspect.signature(Handlers().each)
    known = vars(hooks)
    asked, emitter = known["accepts_kwargs"], hooks.HierarchicalEmitter()

    def renamed(aliases: Any) -> list[Any]:
        events: Any = hooks.EventAliaser(emitter, aliases)
        return [len(events._alias_name_cache) > 0, *map(events._alias_event_name, names)]

    own = [Handlers(), Handlers().each, Handlers().one, Handlers.one, signed, functools.partial(signed), Handlers]
    each = [*own, *(handler[1] for handler in BUILTIN_HANDLERS)]
    other = {"before-call": "own"}
    names = ["before-call.apigateway", "own.autoscaling.name", *(handler[0] for handler in BUILTIN_HANDLERS)]
    expected = [bool(asked(handler)) for handler in each], [renamed(aliases) for aliases in (None, other)]
    monkeypatch.setattr(hooks, "accepts_kwargs", asked)
    monkeypatch.setattr(hooks.EventAliaser, "__init__", hooks.EventAliaser.__init__)
    quicken_events()
    found = (
        [bool(known["accepts_kwargs"](handler)) for handler in each],
        [renamed(aliases) for aliases in (None, other)],
    )
    assert known["accepts_kwargs"] is not asked
    assert [names.pop(0) for names in found[1]] == [True, False]
    assert [names.pop(0) for names in expected[1]] == [False, False]
    assert found == expected


def test_times_and_user_agents_are_what_botocore_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[Any] = [
        "2026-12-01T05:06:07Z", "2026-12-01T05:06:07.123Z", "2026-12-01T05:06:07.123456Z", "0001-01-01T00:00:00Z",
        "2026-12-01T05:06:07.12Z", "2026-12-01T05:06:07+01:00", "2026-12-01T24:00:00Z", "2026-02-30T05:06:07Z",
        "\u0662026-12-01T05:06:07Z", "Tue, 01 Dec 2026 05:06:07 GMT", "1796101376.945", 1796101376, "soon", None,
    ]  # fmt: skip
    sizes = useragent.UserAgentComponentSizeConfig(8, ",")
    parts = [
        useragent.UserAgentComponent("md", "Own (Core)"),
        useragent.UserAgentComponent("lang", "py#thon", "3.11 /x"),
        useragent.UserAgentComponent("m", "a,b,c,d,e,f", size_config=sizes),
    ]

    def read(text: Any) -> Any:
        try:
            time = utils.parse_timestamp(text)
        except (ValueError, RuntimeError, TypeError) as error:
            return type(error), str(error)
        return time, time.utcoffset(), time.tzname()

    expected = [read(text) for text in texts], [part.to_string() for part in parts]
    monkeypatch.setattr(utils, "_parse_timestamp_with_tzinfo", vars(utils)["_parse_timestamp_with_tzinfo"])
    monkeypatch.setattr(useragent.UserAgentComponent, "to_string", useragent.UserAgentComponent.to_string)
    quicken_requests()
    for _ in range(2):
        assert ([read(text) for text in texts], [part.to_string() for part in parts]) == expected


@pytest.mark.parametrize("fault", ["def f(:", "raise SystemExit(1)", "import own_missing", "1 / 0"])
def test_a_domain_that_cannot_be_imported_is_left_to_the_function_that_imports_it(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_domain").mkdir()
    for name, text in (("__init__", "raise AssertionError"), ("broken", fault), ("whole", "")):
        (tmp_path / "own_domain" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    _load_pure(["own_domain.broken", "own_domain.whole"])
    loaded = {name for name in sys.modules if name.startswith("own_domain")}
    monkeypatch.delitem(sys.modules, "own_domain.whole")
    assert loaded == {"own_domain.whole"}


def test_the_fork_server_has_one_thread_and_no_file_of_a_program(image: ImagePython, tmp_path: Path) -> None:
    def files(pid: int) -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    server = int(said(start(image, "import os; print(os.getppid())", tmp_path)))
    before = wait_for(lambda: files(server), "the files of the server")
    for _ in range(5):
        said(start(image, "", tmp_path))
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    wait_for(lambda: files(server) <= before, "as few files as before")


@pytest.mark.parametrize(
    "variable",
    [
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PYTHONHASHSEED",
        "LD_PRELOAD",
        "LC_ALL",
        "ARROW_IO_THREADS",
        "LANG",
        "GLIBC_TUNABLES",
        "MALLOC_ARENA_MAX",
        "NPY_DISABLE_CPU_FEATURES",
    ],
)
def test_a_variable_that_libraries_read_at_their_start_is_read(
    image: ImagePython, variable: str, tmp_path: Path
) -> None:
    program = start(image, "", tmp_path, **{variable: "1" if "THREADS" in variable else ""})
    assert not isinstance(program, Program)
    said(program)


@pytest.mark.parametrize("where", ["program", "PYTHONPATH", "SAGEMAKER_SUBMIT_DIRECTORY"])
@pytest.mark.parametrize("module", ["statistics.py", "csv/__init__.py", "gzip.so", "numpy.py", "sitecustomize.py"])
def test_a_program_with_a_module_of_a_name_that_is_loaded_gets_its_own(
    image: ImagePython, where: str, module: str, tmp_path: Path
) -> None:
    folder = tmp_path if where == "program" else tmp_path / "other"
    (folder / module).parent.mkdir(parents=True, exist_ok=True)
    (folder / module).write_text("own = True")
    program = start(image, "pass", tmp_path, **({} if where == "program" else {where: str(folder)}))
    assert not isinstance(program, Program)
    said(program)


def test_a_program_finds_the_modules_of_pythonpath(image: ImagePython, tmp_path: Path) -> None:
    (tmp_path / "data" / "statistics").mkdir(parents=True)  # folders of data are no modules
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"own_{folder}.py").touch()
    paths = f"{tmp_path}/one:two:{tmp_path}/one:{tmp_path}/data:/nowhere"
    code = "import sys, own_one, own_two; print(sys.path, own_two.__file__)"
    found = [
        (said(program), isinstance(program, Program))
        for image_ in (image, ImagePython(image.path, image.root, False))
        for program in [start(image_, code, tmp_path, PYTHONPATH=paths)]
    ]
    assert [forked for _, forked in found] == [True, False]
    assert found[0][0] == found[1][0]


def test_a_time_zone_counts(image: ImagePython, tmp_path: Path) -> None:
    code = "import time; print(time.strftime('%H:%M %Z', time.localtime(0)))"
    program = start(image, code, tmp_path, TZ="XYZ-3")
    assert isinstance(program, Program)
    assert said(program) == "03:00 XYZ\n"


def test_many_programs_start_at_once_and_each_has_its_own_output(image: ImagePython, tmp_path: Path) -> None:
    numbers = random.sample(range(10_000), 12)
    programs = []
    for number in numbers:
        (tmp_path / str(number)).mkdir()
        programs.append(start(image, f"raise SystemExit('{number}')", tmp_path / str(number)))
    assert [said(program) for program in programs] == [f"{number}\n" for number in numbers]
    assert {program.returncode for program in programs} == {1}


def test_programs_end_with_their_fork_server_and_the_next_has_another(image: ImagePython, tmp_path: Path) -> None:
    program = sleeping(image, tmp_path)
    server = int(Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(server, signal.SIGKILL)
    assert program.wait(10) == -signal.SIGKILL
    wait_for(lambda: not is_running(program.pid), "the end of the program")
    assert said(program) == ""

    after = start(image, "import os; print(os.getppid())", tmp_path)
    assert int(said(after)) != server


def test_a_program_that_cannot_be_a_fork_starts_by_itself(image: ImagePython, tmp_path: Path) -> None:
    """A script that is not there, options of Python, a folder: Python says what it says."""
    for arguments, expected in (
        (["missing.py"], "can't open file"),
        (["-c"], "Argument expected for the -c option"),
        (["-m", "this"], "The Zen of Python"),
    ):
        program = image.start([str(image.path), *arguments], tmp_path, image.environment(tmp_path))
        assert not isinstance(program, Program)
        assert expected in said(program)


def test_everything_ends_when_the_service_is_killed(tmp_path: Path) -> None:
    service = f"""
import pathlib, time
from localcloud.sagemaker.platform.image_python import ImagePython
image = ImagePython(pathlib.Path({str(image_python())!r}), pathlib.Path({str(tmp_path)!r}))
program = image.start([str(image.path), "-c", "import os, time; print(os.getppid(), flush=True); time.sleep(60)"],
                      image.root, image.environment(image.root))
print(program.pid, program.stdout.readline().decode(), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", service], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        program, server = map(int, running.stdout.readline().split())
        assert is_running(program)
        assert is_running(server)
        running.kill()
        wait_for(lambda: not is_running(program) and not is_running(server), "the end of both")


def test_a_fork_that_a_killed_service_left_is_killed_and_a_stranger_is_not(image: ImagePython, tmp_path: Path) -> None:
    program = sleeping(image, tmp_path)
    kill_orphan(program.pid, "/some/other/folder")
    time.sleep(0.05)
    assert program.poll() is None
    kill_orphan(program.pid, str(image.root))
    assert program.wait(5) == -signal.SIGKILL
    said(program)


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie that waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
