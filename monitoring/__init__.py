"""The watch: drift, outcomes, alerts, report."""
