"""Language models: corpus, pre-training, fine-tuning, and an embedding for each product."""
