"""Evaluation of recommenders: metrics, protocol, significance, report."""
