"""What every operation of the API shares: checked requests, paged lists, tags, and events of changes."""
