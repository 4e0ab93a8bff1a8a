"""The engine: MiniStack with our SageMaker, mailbox and corrections, in one process.

Importing this package is cheap and touches nothing: MiniStack reads its environment when it is imported, so
`server.run` sets the environment first. Everything that depends on MiniStack's internals is in this package, and
each module declares with `Seams` what it uses of them (`seams.py`).
"""
