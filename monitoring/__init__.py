"""Monitoring of served traffic: broken data, attacks, drift, outcomes, alerts, report."""
