"""Two-stage recommender: candidate generation and a learned ranker."""
