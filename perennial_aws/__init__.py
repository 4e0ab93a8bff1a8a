"""What the functions share of AWS: clients, objects in the bucket, the run table. No decisions are made here."""
