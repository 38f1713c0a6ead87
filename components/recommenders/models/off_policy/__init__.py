"""Policy learned off-policy from logged feedback."""
