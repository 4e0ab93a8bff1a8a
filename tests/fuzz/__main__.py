"""Fuzz one target, guided by coverage: `python -m tests.fuzz TARGET --seconds N` (`make fuzz` takes them in turn).

What is found is left in .fuzz/<target>/; run it again with `python -m tests.fuzz TARGET --file PATH`.
"""

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["perennial", "processing", "localcloud"]):
    from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2] / ".fuzz"
MEGABYTES = 3000  # more than this is a finding


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("target", choices=[*TARGETS])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--file", type=Path, help="check this input only")
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    if arguments.file:
        target.check(arguments.file.read_bytes())
        return
    folder = ROOT / arguments.target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={arguments.seconds}", f"-rss_limit_mb={MEGABYTES}", "-timeout=60", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", "-close_fd_mask=0", str(corpus)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
