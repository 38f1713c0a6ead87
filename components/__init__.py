"""The trade: data, language, recommenders, evaluation. No orchestrator, no server."""
