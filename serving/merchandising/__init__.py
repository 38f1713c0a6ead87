"""Merchandising rules: what people of the shop change while it runs. In no way the knowledge of
``rules.yaml``, which models are trained with, nor the settings ``serve.rules``."""
