"""What the mail says that asks people whether a version may serve: three ways to answer, and what follows."""

from __future__ import annotations

from perennial.runs.run_record import ModelVersion


def ways(version: ModelVersion, stack: str, days: int | None, console: str) -> str:
    """Return how to approve or reject a version: in the console, with the AWS CLI, or with the command.

    days  how long a run waits for the answer; None: none does, the version comes from another environment
    """
    number, arn = version["number"], version["arn"]
    answer = f"aws sagemaker update-model-package --model-package-arn {arn}"
    return "\n".join(
        [
            f"Approve or reject version {number}, in one of three ways:",
            f"  1. {console}: Studio, Models, group {stack}, version {number}",
            f"  2. {answer} --model-approval-status Approved",
            f"     {answer} --model-approval-status Rejected --approval-description 'why'",
            f"  3. perennial approve {number} --stack {stack}",
            f"     perennial reject {number} --stack {stack} --reason 'why'",
            *_consequences(days),
        ]
    )


def _consequences(days: int | None) -> tuple[str, str]:
    if days is None:
        return (
            "If it is approved, it is deployed at once, without being measured again; it is rejected as superseded "
            "if a model has come into service by then that has learned from newer data.",
            "If it is rejected, what serves stays.",
        )
    limit = "1 day" if days == 1 else f"{days} days"
    return (
        "If it is approved, it is deployed at once; if another model has come into service by then, it is compared "
        "with that first, or is superseded, if that one has learned from newer data.",
        f"If it is rejected, or nobody answers within {limit}, the run ends, and what serves stays.",
    )
