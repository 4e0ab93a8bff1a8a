"""What callers of the serving API send and get: records, refusals, and the document that describes both."""
