"""The feature store: groups of features, their latest records online, and all of them offline in S3."""
