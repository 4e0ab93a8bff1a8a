"""Stand-ins for the serving containers: programs that answer `/ping` and `/invocations` as the AWS images do.

Each `*_serve.py` is started as `<image python> <program> --root <folder for /opt/ml>` with `--port N` (0 takes a free
one and prints it) or `--fd N`, an inherited listening socket. They listen on 127.0.0.1 only.
"""
