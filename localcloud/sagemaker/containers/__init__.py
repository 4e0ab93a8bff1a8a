"""Stand-ins for the serving containers: programs that answer `/ping` and `/invocations` as the AWS images do.

Each `*_serve.py` is started as `<image python> <program> --root <folder for /opt/ml> --fd <number of a socket>`. It is
handed its connections over that socket, and listens nowhere.
"""
