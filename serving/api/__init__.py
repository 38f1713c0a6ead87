"""HTTP layer: schemas, authentication, middleware and routes."""
