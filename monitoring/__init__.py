"""Monitoring of served traffic: drift detection, outcomes, alerts, report."""
