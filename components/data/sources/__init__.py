"""The shop's own files and the feedback → the contract's raw tables."""

from components.data.sources.columns import connect, feedback_of, infer_categories, run

__all__ = ["connect", "feedback_of", "infer_categories", "run"]
