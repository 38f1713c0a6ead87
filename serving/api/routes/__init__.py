"""Routes of the endpoint, by purpose."""
