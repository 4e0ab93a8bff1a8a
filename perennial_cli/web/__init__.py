"""The console: one page in a browser that shows what the command answers."""
