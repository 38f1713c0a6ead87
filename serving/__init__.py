"""The shop's side: BentoML service, engine, durable feedback, pages."""
