"""When and in what order: Prefect only."""
