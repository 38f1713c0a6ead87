"""Events, impressions, products and experiments: written durably, read, exported and erased."""
