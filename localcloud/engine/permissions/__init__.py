"""IAM on the laptop: whoever acts for the stack acts under its own role, and the role's policies decide.

    decisions.py   one request, the policies that speak about it, the answer in AWS's words, and a ledger of the answers
    actions.py     which permissions an operation needs: SageMaker, S3, KMS, SNS, SQS, DynamoDB, Logs, Step Functions
    requests.py    requests over HTTP, from functions and jobs
    deletions.py   what of many objects may not be deleted, which S3 tells one by one
    guests.py      callers of other accounts, whom a resource's own policy has to let in, and what these have here
    owners.py      whose a resource is, where another account than the request's has it
    tasks.py       tasks of state machines, and what Step Functions asks of a role when a state machine is made
    services.py    EventBridge, Lambda, CloudWatch and SageMaker, where they act for the stack without a request

MiniStack evaluates policies (its AUTH=true) for requests over HTTP, and for nothing else; it knows the actions of many
services, but not SageMaker's, and not what KMS asks of a caller. The keys of `localcloud env` are the account's root:
they may do everything, as on AWS. What is not imitated is listed in docs/permissions.md.

LOCALCLOUD_PERMISSIONS=off switches all of it off, to find out whether a permission is what stands in the way.
"""

from localcloud.settings import enforced


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    from localcloud.engine.permissions import requests, services, tasks

    services.register()
    if enforced():
        requests.register()
        tasks.register()
