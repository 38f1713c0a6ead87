"""One script per revision of the schema. A released script is never edited."""
