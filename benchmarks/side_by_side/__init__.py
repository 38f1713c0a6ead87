"""Our models and other libraries' on the same data, split, judge and machine: see ``__main__``."""
