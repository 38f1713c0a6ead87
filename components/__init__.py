"""Data, language, recommenders, evaluation and registry, without an orchestrator or a server."""
