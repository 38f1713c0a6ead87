"""Numeric kernels shared by the models."""
