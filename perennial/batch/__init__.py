"""Files that are scored: read and judged, joined with their predictions, told to people."""
