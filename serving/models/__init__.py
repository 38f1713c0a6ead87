"""Models in service: loading, hot reload and catalogue changes."""
