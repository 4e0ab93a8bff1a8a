"""Reports for people: one HTML page each, which needs nothing beside itself."""
