"""`python -m perennial_cli`, where the command is not installed."""

from perennial_cli.app import run

if __name__ == "__main__":
    run()
