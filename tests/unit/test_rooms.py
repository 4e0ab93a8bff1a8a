"""Who may import what: the rooms of the domain, what is around it, and the parts of the local cloud."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
# For each part, the other parts (`.*`: with all parts in them) and the libraries (of LIBRARIES) that it may import.
# A part may import only what stands above it here, so there is no circle.
PARTS: dict[str, set[str]] = {
    # the domain
    "perennial": set(),
    "perennial.words": set(),
    "perennial.hooks": set(),
    "perennial.model": {"perennial.words", "pydantic", "yaml"},
    "perennial.features": {"perennial.hooks", "perennial.words", "numpy", "pyarrow"},
    "perennial.serving": {"perennial.features", "perennial.words"},
    "perennial.data": {
        "perennial.features", "perennial.hooks", "perennial.model", "perennial.words", "numpy", "pyarrow",
    },
    "perennial.evaluation": {"perennial.data", "perennial.model", "perennial.words", "numpy"},
    "perennial.runs": {
        "perennial.data", "perennial.evaluation", "perennial.model", "perennial.serving", "perennial.words", "pydantic",
    },
    "perennial.registry": {"perennial.model", "perennial.runs"},
    "perennial.monitoring": {
        "perennial.data", "perennial.evaluation", "perennial.features", "perennial.hooks", "perennial.model",
        "perennial.runs", "perennial.words", "numpy", "pyarrow",
    },
    "perennial.batch": {
        "perennial.data", "perennial.evaluation", "perennial.features", "perennial.monitoring", "perennial.runs",
        "perennial.words", "numpy", "pyarrow",
    },
    "perennial.reports": {
        "perennial.data", "perennial.evaluation", "perennial.features", "perennial.model", "perennial.runs",
        "perennial.words", "leather", "numpy",
    },
    # what runs on AWS
    "processing.script_tables": {"pandas"},  # of a model's own scripts, in images that have it
    "processing": {"perennial.*", "numpy", "pyarrow", "xgboost"},
    "processing.ingest_records": {"perennial.*", "processing", "boto3", "numpy"},  # the one job that calls AWS
    "perennial_aws": {"perennial.*", "boto3", "leather", "numpy"},
    "functions": {"perennial.*", "perennial_aws", "boto3", "numpy"},
    # what people call: it is never deployed
    "perennial_cli": {"perennial.*", "processing", "boto3", "numpy", "pyarrow", "rich", "typer", "xgboost", "yaml"},
    # its page in a browser
    "perennial_cli.web": {"perennial.*", "perennial_cli", "boto3", "starlette", "typer"},
    # the local cloud
    "localcloud": {"boto3"},
    "localcloud.sagemaker.errors": set(),
    "localcloud.sagemaker.without_pandas": set(),
    "localcloud.sagemaker.platform": {"localcloud", "localcloud.sagemaker.errors", "boto3"},
    "localcloud.sagemaker.api": {"localcloud", "localcloud.sagemaker.errors", "localcloud.sagemaker.platform"},
    "localcloud.sagemaker.registry": {
        "localcloud", "localcloud.sagemaker.api", "localcloud.sagemaker.errors", "localcloud.sagemaker.platform",
    },
    "localcloud.sagemaker.algorithms": {
        "localcloud.sagemaker.errors", "localcloud.sagemaker.without_pandas", "numpy", "pyarrow", "xgboost",
    },
    "localcloud.sagemaker.containers": {
        "localcloud.sagemaker.algorithms", "localcloud.sagemaker.errors", "localcloud.sagemaker.without_pandas",
        "numpy", "pyarrow", "xgboost",
    },
    "localcloud.sagemaker.endpoints": {
        "localcloud", "localcloud.sagemaker.algorithms", "localcloud.sagemaker.api", "localcloud.sagemaker.containers",
        "localcloud.sagemaker.errors", "localcloud.sagemaker.platform", "localcloud.sagemaker.registry",
    },
    "localcloud.sagemaker.jobs": {
        "localcloud", "localcloud.sagemaker.algorithms", "localcloud.sagemaker.api", "localcloud.sagemaker.endpoints",
        "localcloud.sagemaker.errors", "localcloud.sagemaker.platform",
    },
    "localcloud.sagemaker.features": {
        "localcloud", "localcloud.sagemaker.api", "localcloud.sagemaker.errors", "localcloud.sagemaker.platform",
        "pyarrow",
    },
    "localcloud.sagemaker": {
        "localcloud", "localcloud.sagemaker.api", "localcloud.sagemaker.endpoints", "localcloud.sagemaker.errors",
        "localcloud.sagemaker.features", "localcloud.sagemaker.jobs", "localcloud.sagemaker.platform",
        "localcloud.sagemaker.registry",
    },
    "localcloud.engine": {
        "localcloud", "localcloud.sagemaker", "localcloud.sagemaker.errors", "localcloud.sagemaker.platform",
        "localcloud.sagemaker.without_pandas",
        "boto3", "ministack", "yaml",
    },
    "localcloud.__main__": {"localcloud", "localcloud.engine", "localcloud.sagemaker.errors", "boto3"},
}  # fmt: skip
LIBRARIES = {
    "boto3", "leather", "ministack", "numpy", "pandas", "pyarrow", "pydantic", "rich", "sklearn",
    "starlette", "typer", "xgboost", "yaml",
}  # fmt: skip


def modules(folder: Path) -> dict[str, Path]:
    """Every module of the parts, by its name."""
    roots = {part.split(".")[0] for part in PARTS}
    files = [path for root in sorted(roots) for path in (folder / root).rglob("*.py")]
    return {".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def part_of(module: str) -> str:
    """The most specific part that holds a module."""
    return max((part for part in PARTS if f"{module}.".startswith(f"{part}.")), key=len)


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Whatever a file imports, wherever in it: modules, and the names that it takes from them."""
    return tuple(_imports(ast.parse(path.read_text()), path))


def _imports(tree: ast.Module, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import; write the whole name"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def wrong_imports(folder: Path) -> list[str]:
    """`module imports thing (part -> part)` for all that PARTS does not allow."""
    known, wrong = modules(folder), []
    for module, path in known.items():
        part = part_of(module)
        for name in imports(path):
            root = name.split(".")[0]
            if root in LIBRARIES:
                needed = root
            elif root in {one.split(".")[0] for one in known}:
                needed = part_of(name)
            else:
                continue
            if needed != part and not PARTS[part] & {needed, f"{root}.*"}:
                wrong.append(f"{module} imports {name} ({part} -> {needed})")
    return sorted(wrong)


def test_every_part_imports_what_it_may() -> None:
    assert wrong_imports(ROOT) == []


def test_no_part_may_import_what_stands_below_it() -> None:
    order = list(PARTS)
    parts = [(part, other) for part, others in PARTS.items() for other in others if other in PARTS]
    assert [(part, other) for part, other in parts if order.index(other) > order.index(part)] == []


def test_no_modules_import_each_other() -> None:
    known = modules(ROOT)
    graph = {
        module: {name if name in known else name.rpartition(".")[0] for name in imports(path)} & known.keys() - {module}
        for module, path in known.items()
    }
    TopologicalSorter(graph).prepare()  # its error names the circle


def test_jobs_reach_no_library_that_their_image_lacks() -> None:
    """Through whatever they import: a job that imports pydantic or yaml somewhere does not start on AWS.

    boto3, which the image has, starts in a fifth of a second, and only the job that calls AWS needs it.
    """
    known = modules(ROOT)
    jobs = [name for name in known if name.startswith("processing.") and name != "processing.ingest_records"]
    assert reached_from(["processing.ingest_records"], known, {"pydantic", "yaml"}) == {}
    assert reached_from(jobs, known, {"boto3", "pydantic", "yaml"}) == {}


def reached_from(names: list[str], known: dict[str, Path], lacking: set[str]) -> dict[str, str]:
    """What of some libraries modules import, through whatever else they do, and which module it is that does."""
    reached, waiting = dict[str, str](), [*names]
    while waiting:
        module = waiting.pop()
        for name in imports(known[module]):
            found = next((one for one in (name, name.rpartition(".")[0], name.split(".")[0]) if one in known), name)
            if found not in reached:
                reached[found] = module
                waiting += [found] if found in known else []
    assert lacking <= LIBRARIES
    return {name: module for name, module in reached.items() if name.split(".")[0] in lacking}


def test_a_wrong_import_is_named(tmp_path: Path) -> None:
    for part in ("perennial/runs", "perennial/features", "functions/clean_up"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "perennial/features/values.py").write_text("def f():\n    import boto3\n    import json\n")
    (tmp_path / "perennial/runs/record.py").write_text("from perennial.words import quoted\n")
    (tmp_path / "perennial/features/encoding.py").write_text("from perennial.runs import record\n")
    (tmp_path / "functions/clean_up/app.py").write_text("from perennial.runs.record import opened\n")

    assert wrong_imports(tmp_path) == [
        "perennial.features.encoding imports perennial.runs.record (perennial.features -> perennial.runs)",
        "perennial.features.values imports boto3 (perennial.features -> boto3)",
    ]


def test_the_domain_reads_no_clock_and_no_environment() -> None:
    """Times and settings are given to it, so that the same input has the same answer."""
    asks = ("datetime.now", "datetime.utcnow", "date.today", "time.time", "os.environ", "os.getenv")
    sources = {path: path.read_text() for path in (ROOT / "perennial").rglob("*.py")}
    assert [f"{path}: {one}" for path, text in sources.items() for one in asks if one in text] == []
