"""Event store: durable feedback and impressions."""
