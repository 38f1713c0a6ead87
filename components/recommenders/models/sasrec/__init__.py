"""Self-attentive sequence model (SASRec)."""
