"""A shop lives through a year week by week, with several strategies of training side by side."""
