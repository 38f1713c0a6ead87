"""From product texts and reviews to a language model of the shop and a vector per product."""
