"""Conversational recommendation: understanding, dialogue and generation."""
