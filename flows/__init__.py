"""Orchestration with Prefect: training, monitoring and retraining flows, schedules, servers."""
