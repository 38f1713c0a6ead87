"""How good a recommender is: metrics, protocol, report."""
