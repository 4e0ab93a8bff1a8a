"""Where files are dropped that are to be scored."""

INCOMING = "batch/incoming/"
