"""Lists for many customers at once, as the endpoint would answer: ``bowerbird recommend-all``."""
