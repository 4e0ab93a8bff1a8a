"""Lambda: functions with their layers, in workers."""
