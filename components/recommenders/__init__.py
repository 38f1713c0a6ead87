"""Models that score products for a history; see ``base.Recommender`` for their one face."""
